/**
 * What a leaf that was too long to be examined whole needs to come back octet for octet, where its text turned out not
 * to be what its first block promised (message-format.md §6): patches, each in front of the ciphertext that it is about.
 *
 * They are in the white space of the sealed body, which every decoder of base64 skips (RFC 2045 §6.8): a blank is a
 * zero, a tab a one, the highest bit first, in lines of 76 and CRLF. Each is four octets of length and as many of
 * ciphertext: AES256GCM1K chunks under the message's key, whose `fb0` is not written but follows from the nonce in the
 * leaf's exactness header (key `w`) and the patch's number. So none can be altered, exchanged, repeated, or belong to
 * another leaf. One with nothing in it follows the last, at the body's end: it says that none is missing.
 *
 * A server that trims lines takes them away: then the text comes in the layout that was promised, and it is known that
 * this was not all. What the text decodes to does not depend on them, but where one says that the next must follow.
 */
import { hash } from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'
import { copyOf, FEEDBACK_OCTETS, openedChunksOctets, sealedChunksOctets, TAG_OCTETS } from './chunk-cipher.ts'
import { fastPath } from './native.ts'
import { PatchReader, Pieces } from './patch.ts'
import { BLANK, CR, LF, printWhiteSpace, TAB } from './white-space.ts'

export const LATE_NONCE_OCTETS = 16

const LENGTH_OCTETS = 4
/** Of one patch, sealed: a block of 64 KiB has far less, even if nothing in it is as it was promised. */
const MAX_SEALED_OCTETS = 1 << 20

function feedbackOf(nonce: Uint8Array, number: number): Uint8Array {
  const counter = Buffer.alloc(LENGTH_OCTETS)
  counter.writeUInt32BE(number)
  return copyOf(hash('sha256', Buffer.concat([nonce, counter]), 'buffer'), 0, FEEDBACK_OCTETS)
}

/** What one holds: an octet, 1 where the next must follow, and the patch. */
export function latePatch(patch: Uint8Array, mustGoOn: boolean): Buffer {
  return Buffer.concat([Uint8Array.of(mustGoOn ? 1 : 0), patch])
}

/** @param patch see {@link latePatch}; empty: the one behind the last @returns whole lines */
export function printLatePatch(keyAndSeed: Uint8Array, nonce: Uint8Array, number: number, patch: Uint8Array): Buffer {
  const octets = Buffer.alloc(LENGTH_OCTETS + sealedChunksOctets(patch.length, true))
  const sealed = octets.subarray(LENGTH_OCTETS)
  octets.writeUInt32BE(sealed.length)
  fastPath().chunks.seal(keyAndSeed, feedbackOf(nonce, number), patch, true, sealed)
  return printWhiteSpace(octets)
}

/** A sealed body's text on its way to the batches: the patches taken out, and applied to what the batches give. */
export class LatePatches {
  readonly #keyAndSeed: Uint8Array
  readonly #nonce: Uint8Array
  /** Of the patch that comes next. */
  #number = 0
  /** Octets and bits of the patch at hand. */
  #octets = Buffer.alloc(LENGTH_OCTETS)
  #bits = 0
  #ended = false
  #damaged = false
  #mustGoOn = false
  readonly #waiting: PatchReader[] = []
  /** Octets of the text that passed since the last change. */
  #passed = 0

  constructor(keyAndSeed: Uint8Array, nonce: Uint8Array) {
    this.#keyAndSeed = keyAndSeed
    this.#nonce = nonce
  }

  /** There were patches, and not all of them could be read. */
  get isDamaged(): boolean {
    return this.#damaged || (this.#number > 0 && !this.#ended) || this.#bits > 0
  }

  /** @param sealed text of the sealed body @returns it without what was taken out of it */
  take(sealed: Buffer): Buffer[] {
    const out: Buffer[] = []
    let from = 0
    for (;;) {
      const at = this.#bits > 0 ? from : nextBlank(sealed, from)
      if (at === sealed.length) break
      if (at > from) out.push(sealed.subarray(from, at))
      from = this.#blanks(sealed, at)
      if (from === sealed.length) break
    }
    if (from < sealed.length) out.push(sealed.subarray(from))
    return out
  }

  /** There is a patch to apply. */
  get isNeeded(): boolean {
    return this.#waiting.length > 0
  }

  /** So many octets of text passed while none was. */
  pass(octets: number): void {
    this.#passed += octets
  }

  /** @param text from the batches @returns what becomes of it */
  apply(text: Buffer): Buffer[] {
    const out = new Pieces()
    let at = 0
    for (let patch = this.#waiting[0]; patch !== undefined && at < text.length; patch = this.#waiting[0]) {
      if (this.#passed > 0) {
        patch.passed(this.#passed)
        this.#passed = 0
      }
      at += patch.pushInto(out, at === 0 ? text : text.subarray(at))
      if (patch.isOver) this.#waiting.shift()
    }
    out.put(text, at, text.length)
    this.#passed += text.length - at
    return out.take()
  }

  /** Behind the last of the text. @throws GatewayError SEAL_BROKEN */
  end(): Buffer[] {
    if (this.#mustGoOn && !this.#ended) throw new GatewayError('SEAL_BROKEN', { what: 'a patch is missing' })
    const out: Buffer[] = []
    for (const patch of this.#waiting) {
      if (this.#passed > 0) patch.passed(this.#passed)
      this.#passed = 0
      out.push(...patch.end())
    }
    this.#waiting.length = 0
    return out
  }

  /** Reads white space. @returns where it ends */
  #blanks(sealed: Buffer, start: number): number {
    let at = start
    for (; at < sealed.length; at++) {
      const octet = sealed[at]!
      if (octet === CR || octet === LF) continue
      if (octet !== BLANK && octet !== TAB) break
      if (!this.#damaged && !this.#ended) this.#bit(octet === TAB)
    }
    // What is begun goes on in the next piece, or is cut off.
    if (at < sealed.length && this.#bits > 0) this.#lose()
    return at
  }

  #bit(one: boolean): void {
    const index = this.#bits >> 3
    const mask = 0x80 >> (this.#bits & 7)
    if (one) this.#octets[index]! |= mask
    this.#bits++
    if (this.#bits === LENGTH_OCTETS * 8) {
      const length = this.#octets.readUInt32BE()
      if (length < TAG_OCTETS || length > MAX_SEALED_OCTETS) this.#lose()
      else this.#octets = Buffer.concat([this.#octets, Buffer.alloc(length)])
    } else if (this.#bits === this.#octets.length * 8) this.#open(this.#octets.subarray(LENGTH_OCTETS))
  }

  #open(sealed: Buffer): void {
    const patch = Buffer.alloc(openedChunksOctets(sealed.length))
    const feedback = feedbackOf(this.#nonce, this.#number)
    const octets = fastPath().chunks.open(this.#keyAndSeed, feedback, sealed, true, patch)
    if (octets < 0) {
      this.#lose()
      return
    }
    this.#number++
    this.#startOver()
    this.#ended = octets === 0
    if (this.#ended) return
    this.#mustGoOn = patch[0] === 1
    this.#waiting.push(new PatchReader(patch.subarray(1, octets)))
  }

  /** What comes after it could only be wrong: places are counted from one to the next. */
  #lose(): void {
    this.#damaged = true
    this.#startOver()
  }

  #startOver(): void {
    this.#bits = 0
    this.#octets = Buffer.alloc(LENGTH_OCTETS)
  }
}

function nextBlank(text: Buffer, from: number): number {
  const blank = text.indexOf(BLANK, from)
  const tab = text.indexOf(TAB, from)
  if (blank < 0) return tab < 0 ? text.length : tab
  return tab < 0 ? blank : Math.min(blank, tab)
}
