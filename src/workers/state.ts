/** The shared state as configured: memory, the machine's file, or Redis above it. */
import { join } from 'node:path'
import { GatewayError, messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { makeFolder } from '../net/make-folder.ts'
import { type Died, RedisState } from './redis-state.ts'
import { LocalState, type SharedState } from './shared-state.ts'
import { processName, StateFile } from './state-file.ts'

/** @param redisUrl null: this machine stands alone */
export function openState(directory: string, redisUrl: string | null, log: Log): SharedState {
  const name = processName(process.pid)
  if (redisUrl === null) return openFile(directory, name, log)
  return new RedisState(redisUrl, name, (died) => openFile(directory, name, log, died), log)
}

function openFile(directory: string, name: string, log: Log, died?: Died): SharedState {
  try {
    makeFolder(directory, 0o700)
    return new StateFile(join(directory, 'state.sqlite'), name, log, undefined, undefined, died)
  } catch (error) {
    const reason = messageOf(error)
    log.write('warn', 'state file', { directory, reason, instead: 'each worker counts for itself' })
    return new LocalState()
  }
}

/**
 * As configured. Whatever else it is given the client takes for a file's name.
 * @throws {GatewayError} CONFIG_INVALID, without the address: it may hold a password
 */
export function redisUrl(configured: string | null): string | null {
  if (configured === null || configured.startsWith('/')) return configured
  if (/^rediss?:\/\//.test(configured) && URL.canParse(configured)) return configured
  throw new GatewayError('CONFIG_INVALID', {
    reason: 'expected redis://host:6379/0, rediss://… with TLS, or /path/of/socket',
  })
}
