/**
 * What we tell systemd (sd_notify(3)), through its own command: Node has no datagram sockets of the UNIX family.
 * The unit needs `NotifyAccess=all`.
 */
import { execFile } from 'node:child_process'
import type { Log } from '../base/log.ts'

export interface Notify {
  ready(): void
  reloading(): void
  stopping(): void
  /** All is well; sent on to the watchdog as often as it wants. */
  alive(): void
}

export const silentNotify: Notify = { ready: () => {}, reloading: () => {}, stopping: () => {}, alive: () => {} }

/** @param env NOTIFY_SOCKET and WATCHDOG_USEC as systemd set them, read once */
export function systemdNotify(env: NodeJS.ProcessEnv, pid: number, log: Log, nowMs: () => number): Notify {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdogUs, WATCHDOG_PID: watchdogPid, PATH: path } = env
  if (socket === undefined) return silentNotify
  const watched = watchdogUs !== undefined && (watchdogPid === undefined || Number(watchdogPid) === pid)
  // Half of what it allows, as sd_watchdog_enabled(3) advises.
  const everyMs = watched ? Number(watchdogUs) / 2000 : Number.POSITIVE_INFINITY
  let lastMs = Number.NEGATIVE_INFINITY
  const tell = (...args: string[]): void => {
    execFile(
      'systemd-notify',
      [`--pid=${pid}`, ...args],
      { env: { NOTIFY_SOCKET: socket, ...(path === undefined ? {} : { PATH: path }) } },
      (error) => {
        if (error !== null) log.write('warn', 'systemd-notify', { reason: error.message })
      },
    )
  }
  return {
    ready: () => tell('--ready', '--status=serving'),
    reloading: () => tell('--status=replacing workers'),
    stopping: () => tell('STOPPING=1', '--status=stopping'),
    alive: () => {
      if (nowMs() - lastMs < everyMs || everyMs === Number.POSITIVE_INFINITY) return
      lastMs = nowMs()
      tell('WATCHDOG=1')
    },
  }
}
