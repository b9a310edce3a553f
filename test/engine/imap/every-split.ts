/** Same octets, every chunk size: the outcome must not change. */
import assert from 'node:assert/strict'

export function chunksOf(input: Buffer, octets: number): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < input.length; at += octets) chunks.push(Buffer.from(input.subarray(at, at + octets)))
  return chunks
}

export function everySplit<T>(input: Buffer, run: (chunks: Buffer[]) => T): T {
  const whole = run([Buffer.from(input)])
  for (let n = 1; n < input.length; n++) assert.deepEqual(run(chunksOf(input, n)), whole, `differs at ${n} octets`)
  return whole
}
