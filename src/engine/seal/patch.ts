/**
 * How to turn one octet string into another that is nearly the same, as steps that go forward in both: so many octets
 * kept, so many skipped, these put in. What our canonical encoding gives becomes, by it, the text that the sender wrote
 * (message-format.md §6). Applied as a stream, in constant memory but for the patch itself.
 *
 * The steps are written apart from the octets put in, and both deflated: a mail program breaks its lines by a rule, so
 * that the steps repeat line by line and shrink to nearly nothing, at any size.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { GatewayError } from '../../base/errors.ts'

/** Unpacked octets of a patch: more than the largest leaf examined whole can need; stops a few octets becoming gigabytes. */
const MAX_UNPACKED_OCTETS = 16 << 20

export class PatchBuilder {
  readonly #steps = new Growing()
  readonly #inserted = new Growing()
  #keep = 0
  #skip = 0
  #insert = 0

  keep(octets: number): void {
    if (octets === 0) return
    if (this.#skip > 0 || this.#insert > 0) this.#flush()
    this.#keep += octets
  }

  skip(octets: number): void {
    this.#skip += octets
  }

  insert(octets: Uint8Array): void {
    this.insertRange(octets, 0, octets.length)
  }

  insertRange(source: Uint8Array, start: number, end: number): void {
    if (start === end) return
    this.#insert += end - start
    this.#inserted.put(source, start, end)
  }

  /** Octets kept behind the last change. */
  get trailing(): number {
    return this.#skip > 0 || this.#insert > 0 ? 0 : this.#keep
  }

  /** It changes something. */
  get changes(): boolean {
    return this.#steps.length > 0 || this.#skip > 0 || this.#insert > 0
  }

  /** What is left over at the end is kept. */
  build(): Buffer {
    if (this.#skip > 0 || this.#insert > 0) this.#flush()
    const head = new Growing()
    head.putNumber(this.#steps.length)
    const unpacked = Buffer.concat([head.octets, this.#steps.octets, this.#inserted.octets])
    return deflateRawSync(unpacked, { level: 9 })
  }

  #flush(): void {
    this.#steps.putNumber(this.#keep)
    this.#steps.putNumber(this.#skip)
    this.#steps.putNumber(this.#insert)
    this.#keep = this.#skip = this.#insert = 0
  }
}

/** Octets put behind each other, in memory that doubles. */
class Growing {
  #room = new Uint8Array(256)
  length = 0

  get octets(): Uint8Array {
    return this.#room.subarray(0, this.length)
  }

  put(source: Uint8Array, start: number, end: number): void {
    const octets = end - start
    this.#reserve(octets)
    if (octets > SHORT_OCTETS) this.#room.set(source.subarray(start, end), this.length)
    else for (let i = 0; i < octets; i++) this.#room[this.length + i] = source[start + i]!
    this.length += octets
  }

  /** Seven bits an octet, the lowest first; the eighth says that more follow. */
  putNumber(value: number): void {
    this.#reserve(8)
    let rest = value
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.#room[this.length++] = (rest % 128) | 0x80
    this.#room[this.length++] = rest
  }

  #reserve(octets: number): void {
    if (this.length + octets <= this.#room.length) return
    const grown = new Uint8Array(2 * (this.length + octets))
    grown.set(this.octets)
    this.#room = grown
  }
}

/** Octets one after the other: short pieces are copied together, millions of them would be as many objects. */
export class Pieces {
  #pieces: Buffer[] = []
  #room = NO_ROOM
  #start = 0
  #used = 0

  put(source: Buffer, start: number, end: number): void {
    const octets = end - start
    if (octets === 0) return
    if (octets >= LONG_OCTETS) {
      this.#close()
      this.#pieces.push(source.subarray(start, end))
      return
    }
    if (this.#used + octets > this.#room.length) {
      this.#close()
      this.#room = Buffer.allocUnsafeSlow(this.#room === NO_ROOM ? FIRST_ROOM_OCTETS : ROOM_OCTETS)
      this.#start = this.#used = 0
    }
    if (octets > SHORT_OCTETS) source.copy(this.#room, this.#used, start, end)
    else for (let i = 0; i < octets; i++) this.#room[this.#used + i] = source[start + i]!
    this.#used += octets
  }

  take(): Buffer[] {
    this.#close()
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  #close(): void {
    if (this.#used > this.#start) this.#pieces.push(this.#room.subarray(this.#start, this.#used))
    this.#start = this.#used
  }
}

const NO_ROOM = Buffer.allocUnsafeSlow(0)
const FIRST_ROOM_OCTETS = 8 * 1024
const ROOM_OCTETS = 64 * 1024
/** From here on a view costs less than a copy. */
const LONG_OCTETS = 4096
/** Up to here a loop costs less than a call. */
const SHORT_OCTETS = 32

export class PatchReader {
  readonly #steps: Buffer
  readonly #inserted: Buffer
  #at = 0
  #insertedAt = 0
  #keep = 0
  #skip = 0
  #insert = 0
  #over = false

  /** @throws GatewayError SEAL_BROKEN when this is no patch */
  constructor(patch: Uint8Array) {
    let unpacked: Buffer
    try {
      unpacked = inflateRawSync(patch, { maxOutputLength: MAX_UNPACKED_OCTETS })
    } catch (cause) {
      throw new GatewayError('SEAL_BROKEN', { what: 'patch', octets: patch.length }, cause)
    }
    this.#steps = unpacked
    const octets = this.#number(unpacked.length)
    this.#inserted = unpacked.subarray(this.#at + octets)
    this.#steps = unpacked.subarray(this.#at, this.#at + octets)
    this.#at = 0
    this.#nextStep()
  }

  /** Nothing is changed any more. */
  get isOver(): boolean {
    return this.#over
  }

  /**
   * So many octets of the original have passed already.
   * @throws GatewayError SEAL_BROKEN where the first change was to be among them
   */
  passed(octets: number): void {
    if (octets > this.#keep) throw new GatewayError('SEAL_BROKEN', { what: 'patch behind its place' })
    this.#keep -= octets
  }

  /** @param bytes the next octets of the original. @returns what becomes of them, views where that pays */
  push(bytes: Buffer): Buffer[] {
    const out = new Pieces()
    const used = this.pushInto(out, bytes)
    out.put(bytes, used, bytes.length)
    return out.take()
  }

  /** @returns how many of the octets came before the last change */
  pushInto(out: Pieces, bytes: Buffer): number {
    let at = 0
    while (at < bytes.length && !this.#over) {
      const kept = Math.min(this.#keep, bytes.length - at)
      out.put(bytes, at, at + kept)
      this.#keep -= kept
      at += kept
      if (this.#keep > 0) break
      const skipped = Math.min(this.#skip, bytes.length - at)
      this.#skip -= skipped
      at += skipped
      if (this.#skip > 0) break
      this.#takeInserted(out)
      this.#nextStep()
    }
    return at
  }

  /** @throws GatewayError SEAL_BROKEN when the original was shorter than the patch says */
  end(): Buffer[] {
    const out = new Pieces()
    while (!this.#over) {
      if (this.#keep > 0 || this.#skip > 0) throw new GatewayError('SEAL_BROKEN', { what: 'patch beyond the end' })
      this.#takeInserted(out)
      this.#nextStep()
    }
    return out.take()
  }

  #takeInserted(out: Pieces): void {
    const end = this.#insertedAt + this.#insert
    if (end > this.#inserted.length) throw new GatewayError('SEAL_BROKEN', { what: 'patch cut short' })
    out.put(this.#inserted, this.#insertedAt, end)
    this.#insertedAt = end
  }

  #nextStep(): void {
    if (this.#at >= this.#steps.length) {
      this.#over = true
      this.#keep = this.#skip = this.#insert = 0
      return
    }
    this.#keep = this.#number(MAX_STEP)
    this.#skip = this.#number(MAX_STEP)
    this.#insert = this.#number(MAX_STEP)
  }

  #number(max: number): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const octet = this.#steps[this.#at++]
      if (octet === undefined || value > max) throw new GatewayError('SEAL_BROKEN', { what: 'patch steps' })
      value += (octet & 0x7f) * scale
      if (octet < 0x80) break
    }
    if (value > max) throw new GatewayError('SEAL_BROKEN', { what: 'patch steps' })
    return value
  }
}

const MAX_STEP = 2 ** 40

/** A patch and its application in one piece. */
export function applyPatch(patch: Uint8Array, bytes: Buffer): Buffer {
  const reader = new PatchReader(patch)
  return Buffer.concat([...reader.push(bytes), ...reader.end()])
}
