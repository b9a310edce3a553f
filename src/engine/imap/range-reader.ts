/**
 * A large opened stream (a message, or one of its leaves) that a client reads range after range. The transform is kept
 * where it stopped, with the octets last opened, so that the next range goes on from there instead of from the
 * beginning: what the sealed stream costs is paid once. Sealed octets are fetched in pieces by whoever uses it.
 */
import type { GatewayError } from '../../base/errors.ts'
import type { Asking } from '../asking.ts'
import type { Transform } from '../transform.ts'
import { OpenRun } from './open-run.ts'

/** A leaf by its number in the outline; `message`: all of it. */
export type RangeSource = number | 'message'

/** Opened octets that stay at hand behind the last range, for clients that ask twice or overlap. */
const KEPT_OCTETS = 256 * 1024
/** The first piece, and the largest; each is twice the one before while ranges go on. */
const FIRST_PIECE_OCTETS = 32 * 1024
const MAX_PIECE_OCTETS = 512 * 1024
const MAX_READERS = 2

export class RangeReader {
  readonly uid: number
  readonly source: RangeSource
  readonly #run: OpenRun
  /** Opened octets at hand, in order. */
  readonly #window: Buffer[] = []
  #windowStart = 0
  #windowEnd = 0
  /** Nothing before it is wanted. */
  #wantedFrom = 0
  #pieceOctets = FIRST_PIECE_OCTETS
  #sealedAt = 0
  #complete = false
  /** What was pushed should not wait for more. */
  #hasty = false
  #failure: GatewayError | null = null
  /** Called when more is at hand, or nothing more will be. */
  onProgress: () => void = () => {}

  constructor(uid: number, source: RangeSource, transform: Transform, out: Asking) {
    this.uid = uid
    this.source = source
    this.#run = new OpenRun(transform, out, {
      write: (bytes) => {
        this.#window.push(bytes)
        this.#windowEnd += bytes.length
        this.#trim()
      },
      done: () => {
        this.#complete = true
      },
      fail: (error) => {
        this.#failure = error
        this.onProgress()
      },
      settled: () => this.#settled(),
    })
  }

  get failure(): GatewayError | null {
    return this.#failure
  }

  get complete(): boolean {
    return this.#complete
  }

  /** More will be at hand without more being fetched. */
  get busy(): boolean {
    return this.#run.busy
  }

  get wants(): boolean {
    return this.#run.wants
  }

  /** Behind the octets at hand. */
  get position(): number {
    return this.#windowEnd
  }

  /** Of the sealed stream: what comes next. */
  get sealedAt(): number {
    return this.#sealedAt
  }

  /** Can it go on to this position, or is that behind it? */
  reaches(start: number): boolean {
    return this.#failure === null && start >= this.#windowStart
  }

  /** @param start nothing before it is wanted but for what is kept */
  seek(start: number): void {
    this.#wantedFrom = start
    this.#trim()
  }

  /** Octets of the sealed stream to fetch next, so that this position may be reached. */
  nextPiece(end: number): number {
    const octets = Math.min(MAX_PIECE_OCTETS, Math.max(this.#pieceOctets, Math.ceil((end - this.#windowEnd) * 1.05)))
    this.#pieceOctets = Math.min(MAX_PIECE_OCTETS, this.#pieceOctets * 2)
    return octets
  }

  /** The buffer is given away. */
  push(bytes: Buffer): void {
    this.#sealedAt += bytes.length
    this.#run.push(bytes)
  }

  /** The piece is complete. */
  endPiece(last: boolean): void {
    this.#hasty = !last
    if (last) this.#run.end()
    else this.#run.hasten()
  }

  #settled(): void {
    // A key came, or a batch: what waited for it goes on now.
    if (this.#hasty && !this.#run.busy) {
      this.#hasty = false
      this.#run.hasten()
    } else this.onProgress()
  }

  /** What is at hand from `start` to `end`, views. */
  slices(start: number, end: number): Buffer[] {
    const out: Buffer[] = []
    let at = this.#windowStart
    for (const bytes of this.#window) {
      const from = Math.max(start - at, 0)
      const to = Math.min(end - at, bytes.length)
      if (to > from) out.push(bytes.subarray(from, to))
      at += bytes.length
    }
    return out
  }

  drop(): void {
    this.#run.drop()
    this.#window.length = 0
    this.onProgress = () => {}
  }

  #trim(): void {
    const keepFrom = Math.min(this.#wantedFrom, this.#windowEnd) - KEPT_OCTETS
    let gone = 0
    for (const bytes of this.#window) {
      if (this.#windowStart + bytes.length > keepFrom) break
      this.#windowStart += bytes.length
      gone++
    }
    if (gone > 0) this.#window.splice(0, gone)
  }
}

/** The readers used last, of the selected mailbox. */
export class RangeReaders {
  readonly #readers: RangeReader[] = []

  /** One that reaches this position; null: none. */
  find(uid: number, source: RangeSource, start: number): RangeReader | null {
    const at = this.#readers.findIndex((each) => each.uid === uid && each.source === source && each.reaches(start))
    if (at < 0) return null
    const [reader] = this.#readers.splice(at, 1)
    this.#readers.push(reader!)
    return reader!
  }

  add(reader: RangeReader): void {
    const before = this.#readers.findIndex((each) => each.uid === reader.uid && each.source === reader.source)
    if (before >= 0) this.#remove(before)
    this.#readers.push(reader)
    if (this.#readers.length > MAX_READERS) this.#remove(0)
  }

  clear(): void {
    while (this.#readers.length > 0) this.#remove(0)
  }

  #remove(at: number): void {
    const [reader] = this.#readers.splice(at, 1)
    reader?.drop()
  }
}
