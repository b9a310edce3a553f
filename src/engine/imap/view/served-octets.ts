/**
 * The octets of an opened message as the server would serve them: a server that stores lines with LF alone gives back
 * CRLF (RFC 9051 §2.2). Everything in `view/` counts these octets. Bare CRs stay.
 */
const LF = 0x0a
const CR = 0x0d
const CRLF = Buffer.from('\r\n')

export class ServedOctets {
  /** A CR at the end of the last chunk, held back until its LF is seen or not. */
  #openCr = false

  /** Pieces in order: views of `chunk` where nothing changes, so they live as long as it does. */
  push(chunk: Buffer): Buffer[] {
    if (chunk.length === 0) return []
    const out: Buffer[] = []
    let from = 0
    if (this.#openCr) {
      // CR CR LF: the server takes one CR for the line end, stores the other, and then serves just CRLF.
      this.#openCr = false
      if (chunk[0] === LF) {
        out.push(CRLF)
        from = 1
      } else out.push(CRLF.subarray(0, 1))
    }
    const end = chunk[chunk.length - 1] === CR && chunk.length > from ? chunk.length - 1 : chunk.length
    this.#openCr = end < chunk.length
    for (let lf = chunk.indexOf(LF, from); lf >= 0 && lf < end; lf = chunk.indexOf(LF, lf + 1)) {
      if (lf > from && chunk[lf - 1] === CR) continue
      if (lf > from) out.push(chunk.subarray(from, lf))
      out.push(CRLF)
      from = lf + 1
    }
    if (end > from) out.push(chunk.subarray(from, end))
    return out
  }

  /** A CR at the very end is dropped, as servers do that take it for half a line end. */
  end(): Buffer[] {
    this.#openCr = false
    return []
  }
}
