/** What a process and all below it have used of the processor, from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

/** A clock tick of /proc/PID/stat. */
const TICKS_PER_SECOND = 100

/** CPU seconds so far. */
export function cpuOf(pid: number): number {
  let ticks = 0
  const children = new Map<number, number[]>()
  const own = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = statOf(name)
    if (stat === null) continue
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const parent = Number(fields[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    own.set(Number(name), Number(fields[11]) + Number(fields[12]))
  }
  const pending = [pid]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    ticks += own.get(next) ?? 0
    pending.push(...(children.get(next) ?? []))
  }
  return ticks / TICKS_PER_SECOND
}

function statOf(pid: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}
