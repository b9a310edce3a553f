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
  readonly #steps: number[] = []
  readonly #inserted: Uint8Array[] = []
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
    if (octets.length === 0) return
    this.#insert += octets.length
    this.#inserted.push(octets)
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
    const steps = Buffer.from(Uint8Array.from(this.#steps))
    const head: number[] = []
    putNumber(head, steps.length)
    return deflateRawSync(Buffer.concat([Uint8Array.from(head), steps, ...this.#inserted]), { level: 9 })
  }

  #flush(): void {
    putNumber(this.#steps, this.#keep)
    putNumber(this.#steps, this.#skip)
    putNumber(this.#steps, this.#insert)
    this.#keep = this.#skip = this.#insert = 0
  }
}

/** Seven bits an octet, the lowest first; the eighth says that more follow. */
function putNumber(out: number[], value: number): void {
  let rest = value
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80)
  out.push(rest)
}

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

  /** @param bytes the next octets of the original. @returns what becomes of them, views where possible */
  push(bytes: Buffer): Buffer[] {
    const out: Buffer[] = []
    const used = this.pushInto(out, bytes)
    if (used < bytes.length) out.push(bytes.subarray(used))
    return out
  }

  /** @returns how many of the octets came before the last change */
  pushInto(out: Buffer[], bytes: Buffer): number {
    let at = 0
    while (at < bytes.length && !this.#over) {
      const kept = Math.min(this.#keep, bytes.length - at)
      if (kept > 0) {
        out.push(bytes.subarray(at, at + kept))
        this.#keep -= kept
        at += kept
      }
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
    const out: Buffer[] = []
    while (!this.#over) {
      if (this.#keep > 0 || this.#skip > 0) throw new GatewayError('SEAL_BROKEN', { what: 'patch beyond the end' })
      this.#takeInserted(out)
      this.#nextStep()
    }
    return out
  }

  #takeInserted(out: Buffer[]): void {
    if (this.#insert === 0) return
    const piece = this.#inserted.subarray(this.#insertedAt, this.#insertedAt + this.#insert)
    if (piece.length !== this.#insert) throw new GatewayError('SEAL_BROKEN', { what: 'patch cut short' })
    this.#insertedAt += this.#insert
    out.push(piece)
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
