/** Does the Redis that several machines share answer, and may we run scripts there? Its address is shown without its password. */

import { Redis } from 'ioredis'
import type { ConfigFile } from '../../base/config/config-file.ts'
import { programConfig } from '../../base/config/merge.ts'
import { layersOf, whereSet } from '../../base/config/places.ts'
import { messageOf } from '../../base/errors.ts'
import { redisUrl } from '../../workers/state.ts'
import { adviceOn, codeOf } from './reach.ts'
import type { Report } from './report.ts'

/** A key of ours, as workers use them: a user of Redis may be allowed some keys alone. */
const TRY = `redis.call('SET', KEYS[1], '1', 'EX', 5) return redis.call('DEL', KEYS[1])`

export async function checkRedis(file: ConfigFile, report: Report, timeoutMs: number): Promise<void> {
  const configured = programConfig(file).redis
  const where = whereSet('redis', layersOf(file, null))
  const url = report.attempt(where, () => redisUrl(configured))
  if (url === null) return
  const name = `${where}: Redis ${shown(url)}`
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  let failure: Error | null = null
  redis.on('error', (error: Error) => {
    failure ??= error
  })
  try {
    await redis.connect()
    await redis.eval(TRY, 1, 'vesmail:check')
    report.tell('ok', `${name}: answers`)
  } catch (error) {
    // Of a connection that is closed the client says just that; why, it said before.
    report.tell(
      'FAIL',
      `${name}: ${reasonOf(failure ?? error)} (mail goes on without it; each machine counts for itself)`,
    )
  } finally {
    redis.disconnect()
  }
}

function reasonOf(error: unknown): string {
  const text = messageOf(error)
  if (/^(?:WRONGPASS|NOAUTH)|invalid password/.test(text)) return `${text}: correct the password in redis`
  if (/^NOPERM/.test(text)) return `${text}: its user must be allowed EVAL, EVALSHA, SCRIPT and the keys vesmail:*`
  if (/timed? ?out/i.test(text)) return adviceOn('TIMEOUT', { address: 'redis', ca: 'redis' })
  return adviceOn(codeOf(error), { address: 'redis', ca: 'the system' })
}

function shown(url: string): string {
  return url.startsWith('/') ? url : `${new URL(url).protocol}//${new URL(url).host}`
}
