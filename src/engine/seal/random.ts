/**
 * Random octets that may be seen: ids, boundaries, `fb0` of header and body streams. Asking OpenSSL for each sixteen
 * of them (a message has twenty streams) costs more than sealing them, so they come from a stock.
 *
 * Rule: never keys or tokens. What is given out shares memory with what others are given.
 */
import { randomFillSync } from 'node:crypto'

const STOCK_OCTETS = 4096
/** More than this at once is asked for directly. */
const MAX_FROM_STOCK = 64

let stock = Buffer.alloc(0)
let used = 0

/** Cryptographic random octets, never given out twice. A view; borrowed where it is stored for long. */
export function publicRandom(octets: number): Buffer {
  if (octets > MAX_FROM_STOCK) return randomFillSync(Buffer.allocUnsafe(octets))
  if (used + octets > stock.length) {
    stock = randomFillSync(Buffer.allocUnsafeSlow(STOCK_OCTETS))
    used = 0
  }
  used += octets
  return stock.subarray(used - octets, used)
}
