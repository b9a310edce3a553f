/** Processor time of a program and all that it started, beside one's own: whom a request costs what. Linux only. */
import { readdirSync, readFileSync } from 'node:fs'

/** clock ticks of /proc: 100 a second on all of Linux that Node runs on. */
const TICK_MICROS = 10_000

export interface ProcessorTime {
  /** Of this process: the load. */
  readonly own: number
  readonly program: number
}

/** Microseconds since they began. @param pid of a program that lives */
export function processorTime(pid: number): ProcessorTime {
  const { user, system } = process.cpuUsage()
  return { own: user + system, program: ofTree(pid) }
}

function ofTree(pid: number): number {
  // The name, in parentheses, may hold anything; fields 14 and 15 of proc(5) stand 12 and 13 behind it.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ')
  let micros = (Number(fields[11]) + Number(fields[12])) * TICK_MICROS
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').trim()
    for (const child of children.split(' ')) if (child !== '') micros += ofTree(Number(child))
  }
  return micros
}
