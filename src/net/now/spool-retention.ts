/** Which copies of a spool have to go (now.md): those too old, and of too much the oldest. The same for every store. */
import type { SpoolLimits } from './spool.ts'

export interface SpooledCopy {
  readonly octets: number
  readonly writtenMs: number
}

/** @returns what has to be deleted; linear in memory, so that copies should be small objects */
export function outlived<T extends SpooledCopy>(copies: readonly T[], limits: SpoolLimits, nowMs: number): T[] {
  const { maxAgeMs, maxTotalOctets } = limits
  let total = 0
  // Youngest first: what comes after the total is full is the oldest.
  return copies
    .toSorted((a, b) => b.writtenMs - a.writtenMs)
    .filter(({ octets, writtenMs }) => {
      const goes =
        (maxAgeMs !== null && nowMs - writtenMs > maxAgeMs) ||
        (maxTotalOctets !== null && total + octets > maxTotalOctets)
      if (!goes) total += octets
      return goes
    })
}
