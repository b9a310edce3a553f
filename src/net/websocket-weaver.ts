/**
 * A proxy's octets as frames for the browser (RFC 6455 §5.2), between those of the server behind: that one answers the
 * upgrade and sends Ping, Pong and Close. What it sends is followed from border to border, and only at a border do ours
 * go in; so the octets of mail need not go through it, which cost twice the time.
 */

const FIN = 0x80
const BINARY = 2
/** The end of the answer to the upgrade. */
const HEAD_END = Buffer.from('\r\n\r\n')

export class WebSocketWeaver {
  /** Octets of {@link HEAD_END} seen in a row; all of them: frames follow. */
  #headEnd = 0
  /** Of the frame's head that is being read: octets seen, octets it has, and the length so far. */
  #seen = 0
  #headOctets = 2
  #length = 0
  /** Octets of its payload that have not come. */
  #left = 0
  /** Frames of ours that came amid one of the server's. */
  #waiting: Buffer[] = []

  /** They wait for the server's next octets. */
  get waitingOctets(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0)
  }

  /** @param octets copied. @returns what may go to the browser now, for {@link releaseFrame} then; empty: it follows */
  frame(octets: Buffer): Buffer[] {
    const frame = printFrame(octets)
    if (this.#isBorder) return [frame]
    this.#waiting.push(frame)
    return []
  }

  /** What the server sends. @returns the same, as views of it, with what waited at its first border */
  push(octets: Buffer): Buffer[] {
    if (this.#waiting.length === 0) {
      this.#follow(octets, 0, false)
      return [octets]
    }
    const border = this.#follow(octets, 0, true)
    if (!this.#isBorder) return [octets]
    this.#follow(octets, border, false)
    const waiting = this.#waiting
    this.#waiting = []
    const rest = octets.subarray(border)
    return [octets.subarray(0, border), ...waiting, ...(rest.length > 0 ? [rest] : [])]
  }

  get #isBorder(): boolean {
    return this.#headEnd === HEAD_END.length && this.#seen === 0 && this.#left === 0
  }

  /** @param stops at the first border. @returns how far it went */
  #follow(octets: Buffer, from: number, stops: boolean): number {
    let at = from
    while (at < octets.length && this.#headEnd < HEAD_END.length) {
      const octet = octets[at++]!
      if (octet === HEAD_END[this.#headEnd]) this.#headEnd++
      else this.#headEnd = octet === HEAD_END[0] ? 1 : 0
    }
    while (at < octets.length && !(stops && this.#isBorder)) {
      if (this.#left > 0) {
        const payload = Math.min(this.#left, octets.length - at)
        this.#left -= payload
        at += payload
      } else this.#headOctet(octets[at++]!)
    }
    return at
  }

  /** Of a server: never masked. */
  #headOctet(octet: number): void {
    if (this.#seen === 1) {
      this.#headOctets = octet === 126 ? 4 : octet === 127 ? 10 : 2
      this.#length = this.#headOctets === 2 ? octet : 0
    } else if (this.#seen > 1) this.#length = this.#length * 256 + octet
    this.#seen++
    if (this.#seen < 2 || this.#seen < this.#headOctets) return
    this.#seen = 0
    this.#headOctets = 2
    this.#left = this.#length
  }
}

/**
 * One whole message. Pieces of mail come by the thousand, each as long as a read of the proxy: the memory of such a frame
 * comes from a pool, and back by {@link releaseFrame}. New memory for each made the garbage collector the dearest part.
 */
function printFrame(octets: Buffer): Buffer {
  const { length } = octets
  const headOctets = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = frameMemory(headOctets + length)
  frame[0] = FIN | BINARY
  frame[1] = headOctets === 2 ? length : headOctets === 4 ? 126 : 127
  if (headOctets === 4) frame.writeUInt16BE(length, 2)
  else if (headOctets === 10) frame.writeBigUInt64BE(BigInt(length), 2)
  octets.copy(frame, headOctets)
  return frame
}

const POOLED_OCTETS = 10 + 64 * 1024
/** Shorter ones would hold too much for what they are. */
const MIN_POOLED_OCTETS = 16 * 1024
/** Of all tunnels of a worker; more have memory of their own. */
const MAX_POOLED = 32
const pool: Buffer[] = []

function frameMemory(octets: number): Buffer {
  if (octets < MIN_POOLED_OCTETS || octets > POOLED_OCTETS) return Buffer.allocUnsafe(octets)
  return (pool.pop() ?? Buffer.allocUnsafeSlow(POOLED_OCTETS)).subarray(0, octets)
}

/** The frame has been written: its memory is for another. Once, and nobody may look at it after. */
export function releaseFrame(frame: Buffer): void {
  if (frame.buffer.byteLength !== POOLED_OCTETS || pool.length >= MAX_POOLED) return
  pool.push(Buffer.from(frame.buffer))
}
