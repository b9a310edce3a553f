/**
 * The octets of an opened message as the server would serve them: a server that stores lines with LF alone gives back
 * CRLF (RFC 9051 §2.2). Everything in `view/` counts these octets. Bare CRs stay.
 */
const LF = 0x0a
const CR = 0x0d

export class ServedOctets {
  /** CRs at the end of the last chunk: what they are depends on what comes next. */
  #crs = 0

  /** Pieces in order: views of `chunk` where nothing changes, so they live as long as it does. */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = []
    let from = 0
    while (chunk[from] === CR && this.#crs > 0) {
      this.#crs++
      from++
    }
    if (from === chunk.length) return out
    if (this.#crs > 0) {
      const isEnd = chunk[from] === LF
      out.push(Buffer.alloc(isEnd ? servedCrs(this.#crs) : this.#crs, CR))
      this.#crs = 0
      if (isEnd) {
        out.push(chunk.subarray(from, from + 1))
        from++
      }
    }
    let end = chunk.length
    while (end > from && chunk[end - 1] === CR) end--
    this.#crs = chunk.length - end
    for (let lf = chunk.indexOf(LF, from); lf >= 0 && lf < end; lf = chunk.indexOf(LF, lf + 1)) {
      let crs = 0
      while (lf - crs > from && chunk[lf - crs - 1] === CR) crs++
      if (crs === 1) continue
      if (lf - crs > from) out.push(chunk.subarray(from, lf - crs))
      out.push(Buffer.alloc(servedCrs(crs), CR))
      from = lf
    }
    if (end > from) out.push(chunk.subarray(from, end))
    return out
  }

  /** A CR at the very end is dropped: the server takes it for half a line end. */
  end(): Buffer[] {
    const left = this.#crs - 1
    this.#crs = 0
    return left > 0 ? [Buffer.alloc(left, CR)] : []
  }
}

/** QUIRK: of the CRs before an LF the server takes one for the line end, and gives one back only where none is left. */
function servedCrs(crs: number): number {
  return Math.max(1, crs - 1)
}
