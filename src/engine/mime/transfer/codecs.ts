/**
 * The transfer codings as functions over pieces of a body (RFC 2045 §6.7, §6.8): what the batches of `seal/` are
 * made of. There are two implementations, this folder's in JavaScript and the native addon's in C; both give the very
 * same octets for the same pieces (`test/engine/mime/transfer`).
 *
 * Not here: which coding a part has, and whether the canonical encoding reproduces the original text.
 *
 * Each throws a RangeError, and writes nothing, where `out` has not the room it states.
 *
 * Rule: what a function carries from piece to piece lives in a small typed array that the caller keeps, never inside:
 * a piece may be coded in another thread than the one before.
 */

export interface TransferCodecs {
  /**
   * Octets outside the alphabet are skipped, whatever they are; `=` ends a group of four, so that concatenated
   * encodings decode in full; a lone last sextet is dropped.
   * @param carry  two words, zero at the start: sextets held (as a number), and how many (0–3)
   * @param last   flush: two or three held sextets become one or two octets
   * @param out    room for {@link maxBase64Decoded} octets
   * @returns octets written
   */
  decodeBase64(input: Uint8Array, carry: Uint32Array, last: boolean, out: Uint8Array): number

  /**
   * @param input      a multiple of 3 octets, unless `last`
   * @param width      characters a line, ≥ 1; 0 = all in one line
   * @param separator  between lines, not after the last; at most {@link MAX_SEPARATOR} octets
   * @param padded     write the `=` of the last group
   * @param column     one word, zero at the start: characters in the current line
   * @param out        room for {@link base64EncodedOctets} octets
   * @returns octets written
   */
  encodeBase64(
    input: Uint8Array,
    last: boolean,
    width: number,
    separator: Uint8Array,
    padded: boolean,
    column: Uint32Array,
    out: Uint8Array,
  ): number

  /**
   * `=` before anything but two hex digits (of either case) or a line end stays as it is; so does literal white space
   * at a line end, which RFC 2045 §6.7 rule 3 would delete: to keep it loses nothing.
   * @param consumed  one word, set: octets of the input that were decoded. The rest (at most {@link MAX_QP_HELD})
   *   is to be given again in front of the next piece. All of it where `last`.
   * @param out       room for as many octets as `input`
   * @returns octets written
   */
  decodeQuotedPrintable(input: Uint8Array, last: boolean, consumed: Uint32Array, out: Uint8Array): number

  /**
   * The canonical encoding: lines of at most 76, CRLF and LF are line ends, white space before one is followed by a
   * soft break, as the C gateway writes it.
   * @param state  two words, zero at the start: characters in the current line; and, set: octets of the input that
   *   were encoded. The rest (at most two, which were looked at) is to be given again. All of it where `last`.
   * @param out    room for {@link maxQuotedPrintable} octets
   * @returns octets written
   */
  encodeQuotedPrintable(input: Uint8Array, last: boolean, state: Uint32Array, out: Uint8Array): number

  /** LF octets: what IMAP servers count as lines. */
  countLineFeeds(octets: Uint8Array): number
}

/** Longer separators than a line end with some stray white space are no layout (`base64-layout.ts`). */
export const MAX_SEPARATOR = 16

/** White space between the `=` of a soft break and its line end; longer runs are text: this bounds what is held. */
export const MAX_QP_PADDING = 76

/** `=`, the white space, and CR. */
export const MAX_QP_HELD = MAX_QP_PADDING + 2

/** Octets that {@link TransferCodecs.encodeQuotedPrintable} may leave for the next piece: it must see a CRLF coming. */
export const QP_LOOK_AHEAD = 2

export function maxBase64Decoded(inputOctets: number): number {
  return Math.ceil(((inputOctets + 3) * 3) / 4)
}

/** Characters of the encoding of `octets` octets, without line ends. */
export function base64Characters(octets: number, padded: boolean): number {
  return padded ? Math.ceil(octets / 3) * 4 : Math.ceil((octets * 4) / 3)
}

/** Exact length of an encoding that starts at `column`. */
export function base64EncodedOctets(
  octets: number,
  width: number,
  separatorOctets: number,
  padded: boolean,
  column = 0,
): number {
  const characters = base64Characters(octets, padded)
  if (characters === 0 || width === 0) return characters
  return characters + separatorOctets * Math.floor((column + characters - 1) / width)
}

/** The column after `characters` more characters: a full line stays full until the next one begins. */
export function columnAfter(column: number, characters: number, width: number): number {
  if (characters === 0) return column
  return width === 0 ? column + characters : ((column + characters - 1) % width) + 1
}

/** Every octet as `=XX`, and a soft break for each 24 of them. */
export function maxQuotedPrintable(inputOctets: number): number {
  return inputOctets * 3 + 3 * (Math.ceil(inputOctets / 24) + 2)
}
