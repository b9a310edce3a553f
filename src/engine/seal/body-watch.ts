/**
 * Leaves too long to be examined whole (message-format.md §6), watched as they pass through the batches: is their text
 * what opening will make of the ciphertext? Where it is not, there is a patch, made before the ciphertext of that block
 * is written, so that it can stand in front of it (`late-patch.ts`).
 *
 * Plain data that goes from batch to batch with the rest of the state.
 *
 * Rule: after each block all of the promised text that exists has been compared, so that opening may let go of what it
 * has. The original may be ahead of it, by what cannot be decoded or encoded yet.
 */
import { type Base64Layout, MAX_EDGE } from '../mime/transfer/base64-layout.ts'
import { columnAfter, MAX_SEPARATOR } from '../mime/transfer/codecs.ts'
import { type BodyEncoding, type Encoded, encodeMore, startEncoding } from './body-encoding.ts'
import { copyOf } from './chunk-cipher.ts'
import { latePatch } from './late-patch.ts'
import { PatchBuilder } from './patch.ts'
import { compareTexts, countUnits, passUnits } from './text-diff.ts'

export interface BodyWatch {
  /** What was promised. */
  readonly encoding: Exclude<BodyEncoding, { kind: 'none' }>
  readonly nonce: Uint8Array
  /** Patches so far. */
  readonly patches: number
  /** Base64 that is as promised so far is not encoded again: it is counted. Null once it was not, and for all else. */
  readonly regular: Regular | null
  readonly encoded: Encoded
  /** Text that the promised one has not reached yet. */
  readonly ahead: Uint8Array
  /** Units of the promised text that stand in a patch already. */
  readonly owed: number
  /** Octets of the promised text kept since the last change. */
  readonly kept: number
  /** Of base64: line ends behind the text, which need no patch. */
  readonly lineEnds: number
}

interface Regular {
  /** Octets so far. */
  readonly octets: number
  readonly characters: number
  /** Where the next separator has to stand. */
  readonly nextSeparator: number
  /** The last octets. */
  readonly tail: Uint8Array
}

export interface WatchedBlock {
  readonly text: Uint8Array
  /** What of the body's text became decodable with it. Borrowed. */
  readonly plain: Uint8Array
  /** Octets at its end that are not decoded yet. */
  readonly undecoded: number
  /** Of base64: characters of the alphabet in it; anything else where `=` ended a group. */
  readonly characters: number
  /** Nothing follows. The text is then empty. */
  readonly final: boolean
}

const NONE = new Uint8Array(0)
/** What stands behind the last whole group: three characters and the white space between; or what stands before the first. */
const TAIL_OCTETS = MAX_EDGE + 8 * MAX_SEPARATOR
/** More than this is not waited for: nothing but soft breaks may come for a gigabyte. */
const MAX_AHEAD_OCTETS = 4096
/** Line ends at the end that are counted; more of them are a patch. */
const MAX_LINE_ENDS = 64

export function startWatch(encoding: BodyWatch['encoding'], nonce: Uint8Array): BodyWatch {
  return {
    encoding,
    nonce: copyOf(nonce),
    patches: 0,
    regular: encoding.kind === 'base64' ? startRegular(encoding.layout) : null,
    encoded: startEncoding,
    ahead: NONE,
    owed: 0,
    kept: 0,
    lineEnds: 0,
  }
}

/** Linear. @returns what to go on with, and a patch, if one is needed here */
export function watchBlock(watch: BodyWatch, block: WatchedBlock): { watch: BodyWatch; patch: Buffer | null } {
  const { encoding, regular } = watch
  if (regular === null || encoding.kind !== 'base64') return new Comparison(watch, block).run()
  const next = block.final ? null : regularBlock(regular, encoding.layout, block)
  if (next !== null) return { watch: { ...watch, regular: next }, patch: null }
  return new Comparison(compared(watch, regular, encoding.layout), block).run()
}

// ── base64 by counting ──

function startRegular({ before, width }: Base64Layout): Regular {
  const nextSeparator = width === 0 ? Number.POSITIVE_INFINITY : before.length + width
  return { octets: 0, characters: 0, nextSeparator, tail: NONE }
}

/**
 * Separators are where they have to be, and all else is of the alphabet: then it is the layout's text. One look at each
 * separator.
 * @returns null where it is not
 */
function regularBlock(regular: Regular, layout: Base64Layout, { text, characters }: WatchedBlock): Regular | null {
  const { separator, width, before } = layout
  const start = regular.octets
  const octets = start + text.length
  let others = start === 0 ? before.length : 0
  for (let i = 0; i < others; i++) if (text[i] !== before.charCodeAt(i)) return null
  let next = regular.nextSeparator
  for (; next < octets; next += width + separator.length) {
    for (let i = 0; i < separator.length; i++) {
      const at = next + i - start
      if (at < 0 || at >= text.length) continue
      if (text[at] !== separator.charCodeAt(i)) return null
      others++
    }
    // One that the end of this block cuts is looked at again with the next.
    if (next + separator.length > octets) break
  }
  if (characters !== text.length - others) return null
  const last = text.subarray(Math.max(0, text.length - TAIL_OCTETS))
  const kept = regular.tail.subarray(Math.max(0, regular.tail.length + last.length - TAIL_OCTETS))
  return {
    octets,
    characters: regular.characters + characters,
    nextSeparator: next,
    tail: kept.length === 0 ? copyOf(last) : joined(kept, last),
  }
}

/** The same as if all of it had been encoded again: whole groups are, and the rest is ahead. */
function compared(watch: BodyWatch, { octets, characters, tail }: Regular, layout: Base64Layout): BodyWatch {
  const encodedCharacters = characters - (characters % 4)
  const { width, separator, before } = layout
  const separators = width === 0 || encodedCharacters === 0 ? 0 : Math.floor((encodedCharacters - 1) / width)
  const begun = encodedCharacters > 0
  const reached = begun ? before.length + encodedCharacters + separators * separator.length : 0
  return {
    ...watch,
    regular: null,
    encoded: { begun, column: columnAfter(0, encodedCharacters, width), unencoded: NONE },
    ahead: copyOf(tail, tail.length - (octets - reached)),
    kept: watch.kept + reached,
  }
}

// ── by encoding it again ──

class Comparison {
  readonly #watch: BodyWatch
  readonly #block: WatchedBlock
  readonly #patch = new PatchBuilder()

  constructor(watch: BodyWatch, block: WatchedBlock) {
    this.#watch = watch
    this.#block = block
    this.#patch.keep(watch.kept)
  }

  run(): { watch: BodyWatch; patch: Buffer | null } {
    const { encoding, ahead } = this.#watch
    const { plain, final, text, undecoded } = this.#block
    const { text: promised, encoded } = encodeMore(encoding, this.#watch.encoded, plain, final)
    const to = asBuffer(joined(ahead, text))
    const complete = to.length - undecoded
    let owed = this.#watch.owed
    let reached: number
    const isSame = promised.length <= to.length && to.compare(promised, 0, promised.length, 0, promised.length) === 0
    if (owed === 0 && isSame) {
      this.#patch.keep(promised.length)
      reached = promised.length
    } else {
      const paid = passUnits(promised, encoding.kind, owed)
      owed -= paid.units
      this.#patch.skip(paid.end)
      const known = to.subarray(0, complete)
      const places = compareTexts(this.#patch, promised, known, encoding.kind, { from: paid.end, to: 0 })
      this.#patch.skip(promised.length - places.from)
      reached = places.to
    }
    let lineEnds = 0
    if (final) {
      lineEnds = this.#countedLineEnds(to.subarray(reached))
      if (lineEnds === 0) this.#patch.insert(to.subarray(reached))
      reached = to.length
    } else if (complete - reached > MAX_AHEAD_OCTETS) {
      const early = to.subarray(reached, complete)
      owed += countUnits(early, encoding.kind)
      this.#patch.insert(early)
      reached = complete
    }
    const watch = { ...this.#watch, encoded, ahead: copyOf(to, reached), owed, lineEnds }
    if (!this.#patch.changes) return { watch: { ...watch, kept: this.#patch.trailing }, patch: null }
    const kept = this.#patch.trailing
    return {
      watch: { ...watch, kept, patches: watch.patches + 1 },
      patch: latePatch(this.#patch.build(), owed > 0),
    }
  }

  /** What a layout's ending is in nearly all base64, as long as nothing else has to be said. */
  #countedLineEnds(rest: Buffer): number {
    const { encoding, patches } = this.#watch
    if (encoding.kind !== 'base64' || patches > 0 || this.#patch.changes) return 0
    const unit = encoding.layout.separator === '' ? '\r\n' : encoding.layout.separator
    const count = rest.length / unit.length
    return count <= MAX_LINE_ENDS && rest.equals(Buffer.from(unit.repeat(Math.floor(count)), 'latin1')) ? count : 0
  }
}

function asBuffer(octets: Uint8Array): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.length)
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  return first.length === 0 ? second : Buffer.concat([first, second])
}
