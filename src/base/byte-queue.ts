/**
 * Octets waiting to be read, as the list of buffers in which they came: no copy on the way in, one on the way out
 * only where a read spans buffers. All positions count from the first octet not yet taken.
 */
export class ByteQueue {
  #parts: Buffer[] = []
  /** Octets of `#parts[0]` already taken. */
  #skip = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Appends; the buffer is kept, not copied. */
  push(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#parts.push(bytes)
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

  takeAll(): Buffer {
    return this.take(this.#length)
  }

  /** Position of an octet value at or after `from`, -1 if absent. Linear in what is searched; resume with `from`. */
  indexOf(octet: number, from = 0): number {
    let base = -this.#skip
    for (const part of this.#parts) {
      const end = base + part.length
      if (end > from) {
        const at = part.indexOf(octet, Math.max(from - base, 0))
        if (at >= 0) return base + at
      }
      base = end
    }
    return -1
  }

  clear(): void {
    this.#parts = []
    this.#skip = 0
    this.#length = 0
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
  }
}
