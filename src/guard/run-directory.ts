/**
 * Where workers keep what lives no longer than they do (UNIX sockets, spilled literals): one folder for the guard in
 * the system's temporary folder, in it one for each worker. A worker that is killed cannot clean up after itself: the
 * guard does.
 */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Workers of a guard that was killed may finish their sessions for so long. */
const ORPHANED_MS = 3600_000
const NAME = /^vesmail-guard-(\d+)-/

export class RunDirectory {
  readonly #path: string

  /** Made for us alone (mode 700). Removes what guards left behind that were killed themselves. */
  constructor(pid: number, nowMs: number, parent: string = tmpdir()) {
    sweep(parent, nowMs)
    this.#path = mkdtempSync(join(parent, `vesmail-guard-${pid}-`))
  }

  /** A folder for that worker, empty. */
  of(worker: number): string {
    const path = join(this.#path, String(worker))
    mkdirSync(path, { mode: 0o700, recursive: true })
    return path
  }

  /** The worker has ended. */
  forget(worker: number): void {
    rmSync(join(this.#path, String(worker)), { recursive: true, force: true })
  }

  close(): void {
    rmSync(this.#path, { recursive: true, force: true })
  }
}

function sweep(parent: string, nowMs: number): void {
  for (const name of readdirSync(parent)) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || isAlive(Number(pid))) continue
    const path = join(parent, name)
    const stats = lstatSync(path, { throwIfNoEntry: false })
    // Never somebody else's: everybody may write there.
    if (stats?.isDirectory() !== true || stats.uid !== process.getuid?.()) continue
    if (nowMs - stats.mtimeMs > ORPHANED_MS) rmSync(path, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
