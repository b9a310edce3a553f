/** What the processes of a bench have used of the processor, from /proc, by the part they play. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

/** A clock tick of /proc/PID/stat. */
const TICKS_PER_SECOND = 100

/** CPU seconds so far, by part. */
export type CpuByPart = Readonly<Record<string, number>>

/** The part that a process plays; null: it belongs to none, and neither do its children. */
export type PartOf = (pid: number, args: string) => string | null

interface Process {
  readonly pid: number
  readonly parent: number
  readonly seconds: number
}

/**
 * What `pid` and all below it have used, those of a parent that ended included once it has waited for them.
 * @param partOf asked once per living process
 */
export function cpuByPart(pid: number, partOf: PartOf): CpuByPart {
  const parts: Record<string, number> = {}
  for (const { part, seconds } of withParts(pid, partOf)) parts[part] = (parts[part] ?? 0) + seconds
  return parts
}

/** Keeps `pid` and all below it, and what they start, to cores. @param coresOf a part's, as taskset(1) writes them. @throws Error where that fails */
export function pin(pid: number, partOf: PartOf, coresOf: (part: string) => string): void {
  for (const process of withParts(pid, partOf)) {
    const args = ['--all-tasks', '--cpu-list', '--pid', coresOf(process.part), String(process.pid)]
    const { status, error } = spawnSync('taskset', args, { stdio: 'ignore' })
    // One of Postfix's may have ended meanwhile.
    if (error !== undefined || (status !== 0 && textOf(`/proc/${process.pid}/stat`) !== null))
      throw new Error('taskset')
  }
}

/** `pid` and all below it, those below the parts that are null left out. */
function withParts(pid: number, partOf: PartOf): (Process & { readonly part: string })[] {
  const all = processes()
  const found: (Process & { readonly part: string })[] = []
  const pending = [pid]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const own = all.find((process) => process.pid === next)
    const part = own === undefined ? null : partOf(next, argumentsOf(next))
    if (own === undefined || part === null) continue
    found.push({ ...own, part })
    for (const process of all) if (process.parent === next) pending.push(process.pid)
  }
  return found
}

/** CPU seconds so far of a process and all below it. */
export function cpuOf(pid: number): number {
  return cpuByPart(pid, () => 'all').all ?? 0
}

export function spent(before: CpuByPart, after: CpuByPart): CpuByPart {
  return Object.fromEntries(Object.entries(after).map(([part, seconds]) => [part, seconds - (before[part] ?? 0)]))
}

export function sumOf(all: readonly CpuByPart[]): CpuByPart {
  const sum: Record<string, number> = {}
  for (const one of all) for (const [part, seconds] of Object.entries(one)) sum[part] = (sum[part] ?? 0) + seconds
  return sum
}

function processes(): Process[] {
  const all: Process[] = []
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = textOf(`/proc/${name}/stat`)
    if (stat === null) continue
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [parent, user, system, waitedUser, waitedSystem] = [1, 11, 12, 13, 14].map((at) => Number(fields[at]))
    const ticks = user! + system! + waitedUser! + waitedSystem!
    all.push({ pid: Number(name), parent: parent!, seconds: ticks / TICKS_PER_SECOND })
  }
  return all
}

function argumentsOf(pid: number): string {
  return (textOf(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ')
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}
