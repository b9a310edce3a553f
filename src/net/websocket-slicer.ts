/**
 * What a browser sends through a WebSocket (RFC 6455 §5.2), cut into small whole messages: uWebSockets.js gives messages
 * only when they are whole, and a tunnel carries octets, whose borders mean nothing. So a frame of any size, in any
 * number of fragments, costs the memory of one slice. Octets stay masked: a slice's mask is the frame's, turned.
 */

/** One slice's payload at most. Octets; its length is written in 16 bits. */
export const MAX_SLICE_OCTETS = 32 * 1024

const FIN = 0x80
const MASKED = 0x80
const CONTINUATION = 0
const BINARY = 2
const CLOSE = 8
const PONG = 10
/** RFC 6455 §7.4.1 */
const PROTOCOL_ERROR = 1002

export class WebSocketSlicer {
  /** Of the frame being read, until it is whole: 2 to 14 octets. */
  #head: Buffer = Buffer.alloc(0)
  /** Octets of the frame's payload that have not come yet; control frames pass as they are. */
  #left = 0
  #mask: Buffer = Buffer.alloc(4)
  #isControl = false
  /** Between a frame without FIN and its last continuation. */
  #inMessage = false
  #over = false
  /** Of messages, given out so far. */
  payloadOctets = 0

  /** @returns frames for the server; payload is a view of the given buffer. After a breach a Close, then nothing. */
  push(octets: Buffer): Buffer[] {
    const out: Buffer[] = []
    let at = 0
    while (at < octets.length && !this.#over) {
      if (this.#left === 0) {
        const wanted = this.#headSize() - this.#head.length
        this.#head = Buffer.concat([this.#head, octets.subarray(at, at + wanted)])
        at += wanted
        if (this.#head.length < this.#headSize()) continue
        this.#begin(out)
        continue
      }
      const slice = octets.subarray(at, at + Math.min(this.#left, MAX_SLICE_OCTETS))
      at += slice.length
      this.#left -= slice.length
      if (!this.#isControl) {
        out.push(this.#sliceHead(slice.length))
        this.payloadOctets += slice.length
        this.#mask = turned(this.#mask, slice.length)
      }
      out.push(slice)
    }
    return out
  }

  /** As far as can be told from what is here. */
  #headSize(): number {
    const length = this.#head[1]
    // Without a mask it is a breach, and nothing is waited for.
    if (length === undefined || (length & MASKED) === 0) return 2
    return 6 + ((length & 127) === 126 ? 2 : (length & 127) === 127 ? 8 : 0)
  }

  #begin(out: Buffer[]): void {
    const head = this.#head
    this.#head = Buffer.alloc(0)
    const [first, second] = [head[0]!, head[1]!]
    const opcode = first & 15
    const short = second & 127
    if ((second & MASKED) === 0) {
      this.#breach(out)
      return
    }
    const length = short === 126 ? head.readUInt16BE(2) : short === 127 ? Number(head.readBigUInt64BE(2)) : short
    this.#isControl = opcode >= CLOSE
    const isLegal = this.#isControl
      ? opcode <= PONG && (first & FIN) !== 0 && short <= 125
      : opcode <= BINARY && (opcode === CONTINUATION) === this.#inMessage && Number.isSafeInteger(length)
    if (!isLegal || (first & 0x70) !== 0) {
      this.#breach(out)
      return
    }
    this.#left = length
    if (this.#isControl) {
      out.push(head)
      return
    }
    this.#inMessage = (first & FIN) === 0
    this.#mask = head.subarray(-4)
  }

  #breach(out: Buffer[]): void {
    this.#over = true
    const reason = Buffer.alloc(2)
    reason.writeUInt16BE(PROTOCOL_ERROR)
    out.push(Buffer.concat([Buffer.from([FIN | CLOSE, MASKED | 2, 0, 0, 0, 0]), reason]))
  }

  #sliceHead(octets: number): Buffer {
    const isShort = octets < 126
    const head = Buffer.allocUnsafe(isShort ? 6 : 8)
    head[0] = FIN | BINARY
    head[1] = MASKED | (isShort ? octets : 126)
    if (!isShort) head.writeUInt16BE(octets, 2)
    this.#mask.copy(head, isShort ? 2 : 4)
    return head
  }
}

function turned(mask: Buffer, by: number): Buffer {
  const turn = by % 4
  return turn === 0 ? mask : Buffer.concat([mask.subarray(turn), mask.subarray(0, turn)])
}
