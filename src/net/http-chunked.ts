/**
 * A chunked body's framing (RFC 9112 §7.1), taken off. Extensions and trailers are read and dropped: nobody here asks for
 * them. Strict: a size in hexadecimal digits, line ends of CR and LF.
 */
import type { ByteQueue } from '../base/byte-queue.ts'

const LF = 10
/** Of one size line, extensions included. Octets. */
const MAX_LINE_OCTETS = 256
/** Of all trailer lines together. Octets. */
const MAX_TRAILER_OCTETS = 8 * 1024
/** chunk-size [ chunk-ext ]; no chunk of a petabyte. */
const SIZE = /^([0-9a-fA-F]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n$/
const TRAILER = /^(?:[!#$%&'*+.^_`|~\w-]+:[\t\x20-\x7e\x80-\xff]*)?\r\n$/

export class ChunkedBody {
  #state: 'size' | 'data' | 'data-end' | 'trailers' = 'size'
  #left = 0
  #trailerOctets = 0

  /** @returns octets of the body, a view; `end` after the last; `bad`: no chunked body; null: more are needed */
  next(queue: ByteQueue): Buffer | 'end' | 'bad' | null {
    for (;;) {
      if (this.#state === 'data') {
        if (queue.length === 0) return null
        const data = queue.takeChunk(this.#left)
        this.#left -= data.length
        if (this.#left === 0) this.#state = 'data-end'
        return data
      }
      const line = takeLine(queue)
      if (line === null || line === 'bad') return line
      switch (this.#state) {
        case 'size': {
          const size = SIZE.exec(line)
          if (size === null) return 'bad'
          this.#left = Number.parseInt(size[1]!, 16)
          this.#state = this.#left === 0 ? 'trailers' : 'data'
          break
        }
        case 'data-end':
          if (line !== '\r\n') return 'bad'
          this.#state = 'size'
          break
        case 'trailers':
          this.#trailerOctets += line.length
          if (!TRAILER.test(line) || this.#trailerOctets > MAX_TRAILER_OCTETS) return 'bad'
          if (line === '\r\n') return 'end'
          break
      }
    }
  }
}

/** A whole line with its end. */
function takeLine(queue: ByteQueue): string | 'bad' | null {
  const end = queue.indexOf(LF)
  if (end >= MAX_LINE_OCTETS || (end === -1 && queue.length > MAX_LINE_OCTETS)) return 'bad'
  return end === -1 ? null : queue.take(end + 1).toString('latin1')
}
