/** Who listens on a TCP port of this machine, as far as /proc shows it: of other users' processes root alone learns. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface Holder {
  readonly pid: number
  readonly name: string
  /** `vesmail daemon`, or a process of its own: the embedded repository */
  readonly isGateway: boolean
}

const LISTENING = '0A'

export function holdersOf(port: number): readonly Holder[] {
  const sockets = new Set(['tcp', 'tcp6'].flatMap((table) => listeningOn(port, table)))
  if (sockets.size === 0) return []
  return entriesOf('/proc')
    .filter(
      (name) =>
        /^\d+$/.test(name) && entriesOf(`/proc/${name}/fd`).some((fd) => sockets.has(linkOf(`/proc/${name}/fd/${fd}`))),
    )
    .map((name) => holder(Number(name)))
}

/** `socket:[inode]` of each listener on the port. Lines of proc(5): `sl local_address rem_address st … inode`. */
function listeningOn(port: number, table: string): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  return textOf(`/proc/net/${table}`)
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => state === LISTENING && local.endsWith(`:${wanted}`))
    .map((fields) => `socket:[${fields[9]}]`)
}

function holder(pid: number): Holder {
  const parent = /^PPid:\s*(\d+)$/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? '0'
  const isGateway = isDaemon(String(pid)) || isDaemon(parent)
  return { pid, name: textOf(`/proc/${pid}/comm`).trim() || 'a program', isGateway }
}

function isDaemon(pid: string): boolean {
  const words = textOf(`/proc/${pid}/cmdline`).split('\0')
  const at = words.findIndex((word) => /(?:^|\/)vesmail(?:\.[jt]s)?$/.test(word))
  const command = at < 0 ? '' : (words[at + 1] ?? '')
  return command !== '' && 'daemon'.startsWith(command)
}

/** Processes end while we look, and some are not ours to look into. */
function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    return none(error, [])
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    return none(error, '')
  }
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file)
  } catch (error) {
    return none(error, '')
  }
}

function none<T>(error: unknown, nothing: T): T {
  if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? ''))
    return nothing
  throw error
}
