/**
 * Octets pushed at the end and taken from the front, always in one piece to look at. A push into an empty window is
 * kept as it is, without copying; otherwise it is copied behind what is there, into room that doubles: a megabyte
 * pushed octet by octet costs a few megabytes of copying, not its square. What was given out is never written again.
 */
const EMPTY = Buffer.alloc(0)

export class OctetWindow {
  #buffer: Buffer = EMPTY
  #start = 0
  #end = 0
  /** The buffer is ours, so that octets may be put behind the end. */
  #own = false

  get length(): number {
    return this.#end - this.#start
  }

  push(bytes: Buffer): void {
    if (bytes.length === 0) return
    if (this.#start === this.#end) {
      // Small pushes into room that is there already: what was given out lies before it.
      if (this.#own && bytes.length <= SMALL && this.#buffer.length - this.#end >= bytes.length) {
        this.#start = this.#end
      } else {
        this.#buffer = bytes
        this.#start = 0
        this.#end = bytes.length
        this.#own = false
        return
      }
    }
    if (!this.#own || this.#buffer.length - this.#end < bytes.length) this.#grow(bytes.length)
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** All of it; a view, good until the next push. */
  view(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end)
  }

  /** A view; it stays what it is. */
  take(octets: number): Buffer {
    const view = this.#buffer.subarray(this.#start, this.#start + octets)
    this.drop(octets)
    return view
  }

  drop(octets: number): void {
    this.#start += octets
  }

  #grow(octets: number): void {
    const length = this.length
    const grown = Buffer.allocUnsafeSlow(Math.max(MIN_ROOM, 2 * (length + octets)))
    this.#buffer.copy(grown, 0, this.#start, this.#end)
    this.#buffer = grown
    this.#start = 0
    this.#end = length
    this.#own = true
  }
}

const SMALL = 1024
const MIN_ROOM = 4096
