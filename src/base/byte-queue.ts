/**
 * Octets waiting to be read, as the list of buffers in which they came: no copy on the way in, one on the way out
 * only where a read spans buffers. All positions count from the first octet not yet taken.
 *
 * But for small buffers that pile up: they are copied together. A line that comes octet by octet would else be a
 * quarter of a million buffers, some hundred octets each, and a walk over all of them for each further one.
 */

/** Smaller ones are copied behind what waits already; the room they are copied to. */
const SMALL_OCTETS = 512
const ROOM_OCTETS = 4096

export class ByteQueue {
  #parts: Buffer[] = []
  /** Octets of `#parts[0]` already taken. */
  #skip = 0
  #length = 0
  /** Where small buffers are copied: the last part ends at `used` of it, or has nothing to do with it. */
  #room: { readonly bytes: Buffer; used: number } | null = null

  get length(): number {
    return this.#length
  }

  /** Appends; the buffer is kept, or copied. */
  push(bytes: Buffer): void {
    if (bytes.length === 0) return
    // What comes alone is on its way out in a moment.
    if (bytes.length <= SMALL_OCTETS && this.#length > 0) this.#copyBehind(bytes)
    else this.#parts.push(bytes)
    this.#length += bytes.length
  }

  /** Takes `octets` octets; one buffer, a view where possible. @throws RangeError when fewer are there */
  take(octets: number): Buffer {
    if (octets > this.#length) throw new RangeError(`take ${octets} of ${this.#length} octets`)
    const first = this.#parts[0]
    if (first === undefined || octets === 0) return Buffer.alloc(0)
    if (first.length - this.#skip >= octets) {
      const view = first.subarray(this.#skip, this.#skip + octets)
      this.#drop(octets)
      return view
    }
    const out = Buffer.allocUnsafe(octets)
    this.#copyTo(out)
    this.#drop(octets)
    return out
  }

  /** The first `octets` octets without taking them; a view where possible. */
  peek(octets: number): Buffer {
    const first = this.#parts[0]
    if (first !== undefined && first.length - this.#skip >= octets) {
      return first.subarray(this.#skip, this.#skip + octets)
    }
    const out = Buffer.allocUnsafe(Math.min(octets, this.#length))
    this.#copyTo(out)
    return out
  }

  /** Takes what lies at the front in one piece, at most `maxOctets`; empty when nothing is there. Never copies. */
  takeChunk(maxOctets: number): Buffer {
    const first = this.#parts[0]
    return first === undefined ? Buffer.alloc(0) : this.take(Math.min(maxOctets, first.length - this.#skip))
  }

  /** What lies at the front in one piece, without taking it: a view. */
  get front(): Buffer {
    const first = this.#parts[0]
    return first === undefined ? Buffer.alloc(0) : first.subarray(this.#skip)
  }

  takeAll(): Buffer {
    return this.take(this.#length)
  }

  /** Position of an octet value at or after `from`, -1 if absent. Linear in what is searched; resume with `from`. */
  indexOf(octet: number, from = 0): number {
    // From the end: what was searched before is not walked over again.
    let first = this.#parts.length
    let base = this.#length
    while (first > 0 && base > from) base -= this.#parts[--first]!.length
    for (let i = first; i < this.#parts.length; i++) {
      const part = this.#parts[i]!
      const at = part.indexOf(octet, Math.max(from - base, 0))
      if (at >= 0) return base + at
      base += part.length
    }
    return -1
  }

  clear(): void {
    this.#parts = []
    this.#skip = 0
    this.#length = 0
    this.#room = null
  }

  #copyBehind(bytes: Buffer): void {
    const last = this.#parts.at(-1)
    const room = this.#room
    if (room === null || last?.buffer !== room.bytes.buffer || room.used + bytes.length > ROOM_OCTETS) {
      const fresh = Buffer.allocUnsafeSlow(ROOM_OCTETS)
      fresh.set(bytes)
      this.#room = { bytes: fresh, used: bytes.length }
      this.#parts.push(fresh.subarray(0, bytes.length))
      return
    }
    room.bytes.set(bytes, room.used)
    room.used += bytes.length
    // Nothing that was given out changes: it ends before.
    this.#parts[this.#parts.length - 1] = room.bytes.subarray(last.byteOffset, room.used)
  }

  #copyTo(out: Buffer): void {
    let done = 0
    let skip = this.#skip
    for (const part of this.#parts) {
      if (done === out.length) break
      done += part.copy(out, done, skip, Math.min(part.length, skip + out.length - done))
      skip = 0
    }
  }

  #drop(octets: number): void {
    this.#length -= octets
    let left = octets + this.#skip
    let whole = 0
    for (const part of this.#parts) {
      if (left < part.length) break
      left -= part.length
      whole++
    }
    if (whole > 0) this.#parts.splice(0, whole)
    this.#skip = left
    if (this.#length === 0) this.#room = null
  }
}
