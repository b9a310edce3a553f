/**
 * Short files, read in place where they lie in the kernel's memory: that costs 5 µs, the way through Node's threads 160.
 * Each time it is the file itself that is read or looked at: one that was deleted or replaced is so at once.
 *
 * A disk must not hold up the sessions of a whole worker. So a file is read in place only when it was read through the
 * threads a moment ago, and where that proves slow all the same (a network's file system) not for a while: as long as keeps
 * the time lost below a twentieth. (A minute's rest was tried: one turn of another process at the wrong moment brought it on.)
 */
import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs'
import type { ShortCopy } from './spool.ts'

/** What was read within that time is in the kernel's memory, unless that is very short. */
const WARM_MS = 10_000
/** Names that are remembered; the oldest go first. */
const MAX_FILES = 1000
/** More in place than through the threads costs other sessions. */
const SLOW_MS = 3
const REST_FACTOR = 20
/** A copy is written under another name and never changed: these tell it from any that took its place. */
const SAME_IF = ['ino', 'dev', 'size', 'mtimeMs', 'ctimeMs'] as const

export class WarmFiles {
  readonly #maxOctets: number
  readonly #nowMs: () => number
  readonly #until = new Map<string, number>()
  #slowUntil = 0

  /** @param maxOctets longer files are not read here */
  constructor(maxOctets: number, nowMs: () => number = () => performance.now()) {
    this.#maxOctets = maxOctets
    this.#nowMs = nowMs
  }

  /** It was read through the threads just now, to its end. */
  warmed(path: string): void {
    this.#until.delete(path)
    this.#until.set(path, this.#nowMs() + WARM_MS)
    if (this.#until.size > MAX_FILES) this.#until.delete(this.#until.keys().next().value as string)
  }

  /** @returns null where the threads have to be asked: it is not known to be warm, is too long, or cannot be read */
  read(path: string): ShortCopy | null {
    const until = this.#until.get(path)
    if (until === undefined) return null
    const beginMs = this.#nowMs()
    if (until < beginMs || this.#slowUntil > beginMs) return null
    const copy = orNull(() => this.#inPlace(path))
    if (copy === null) this.#until.delete(path)
    else this.#took(beginMs)
    return copy
  }

  #took(beginMs: number): void {
    const endMs = this.#nowMs()
    if (endMs - beginMs > SLOW_MS) this.#slowUntil = endMs + REST_FACTOR * (endMs - beginMs)
  }

  #isSame(path: string, before: Stats): boolean {
    const beginMs = this.#nowMs()
    if (this.#slowUntil > beginMs) return false
    const now = orNull(() => statSync(path))
    this.#took(beginMs)
    return now !== null && SAME_IF.every((field) => now[field] === before[field])
  }

  #inPlace(path: string): ShortCopy | null {
    const file = openSync(path, 'r')
    try {
      const stats = fstatSync(file)
      const { size } = stats
      if (size > this.#maxOctets) return null
      const octets = Buffer.allocUnsafe(size)
      // Ours are never changed, but who changes one all the same gets what is there, as through the threads.
      const read = readSync(file, octets, 0, size, 0)
      return { octets: octets.subarray(0, read), isCurrent: () => this.#isSame(path, stats) }
    } finally {
      closeSync(file)
    }
  }
}

/** What it is that cannot be done the threads' answer says, which is the one that counts. */
function orNull<T>(look: () => T): T | null {
  try {
    return look()
  } catch (error) {
    if (error instanceof Error && 'code' in error) return null
    throw error
  }
}
