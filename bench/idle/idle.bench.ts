/**
 * Memory of an idle IMAP session with TLS on both sides (commands.md, "idle"): the worker's resident set with 1,000,
 * 5,000 and 10,000 clients in IDLE, less what it has with a few; beside it a bare node:tls pipe, in the same run.
 */
import type { Row } from '../rows.ts'
import { measureIdle } from './measure.ts'

const SIZES = [1000, 5000, 10_000]
const ALLOWED = 1.25

/** @param only names of rows; all where empty */
export async function rows(only: readonly string[]): Promise<Row[]> {
  const sizes = SIZES.filter((size) => only.length === 0 || only.includes(String(size)))
  const measured = await measureIdle(sizes)
  return measured.map(({ ours, pipe }, i): Row => {
    const ratio = ours.kib / pipe.kib
    const within = ratio <= ALLOWED ? 'within 1.25' : 'more than 1.25'
    return {
      bench: 'idle',
      name: String(sizes[i]),
      value: ours.kib,
      unit: 'KiB',
      limit: pipe.kib,
      ratio,
      note: `${within}; ${ours.cpuUs.toFixed(1)} µs of CPU a second and session, the pipe ${pipe.cpuUs.toFixed(1)}`,
    }
  })
}
