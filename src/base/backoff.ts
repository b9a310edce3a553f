/**
 * Delay before attempt `attempt` (0 = the first repeat): doubles from `firstMs` up to `maxMs`, without jitter.
 * @returns milliseconds
 */
export function backoffMs(attempt: number, firstMs: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30))
}
