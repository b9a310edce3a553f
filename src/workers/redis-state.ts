/**
 * The state that several machines share, in Redis or Valkey. It answers in time or not at all: what it does not say
 * soon, the machine's own state says, which is kept up to date beside it. A lost Redis never stops mail.
 */

import { Redis } from 'ioredis'
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { HOLD_SECONDS, type SharedState } from './shared-state.ts'

const ANSWER_MS = 250
const RENEW_MS = 20_000
/** Of places renewed at a time: a worker has thousands, and each answer has its time. */
const RENEWED_AT_ONCE = 200
/** Scores fall by one a second, and nobody has a score of a day. */
const SCORE_TTL_SECONDS = 86_400
/** What nobody has asked for on another machine in that time is learned again. */
const KEPT_TTL_SECONDS = 30 * 86_400

/** ARGV[1]: milliseconds, or nothing: the server's own clock, since the machines' may differ. */
const NOW = `
  local now = tonumber(ARGV[1])
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end`

/** KEYS[1]; now. Score and time in one string. */
const SCORE = `${NOW}
  local score = 0
  local known = redis.call('GET', KEYS[1])
  if known then
    local was, at = string.match(known, '([^ ]+) ([^ ]+)')
    score = math.max(0, tonumber(was) - math.max(0, now - tonumber(at)) / 1000)
  end`
const READ_SCORE = `${SCORE}
  return tostring(score)`
/** KEYS[1]; now, points. */
const ADD_SCORE = `${SCORE}
  score = score + tonumber(ARGV[2])
  redis.call('SET', KEYS[1], score .. ' ' .. now, 'EX', ${SCORE_TTL_SECONDS})
  return tostring(score)`

/** KEYS[1]; now, process, count. A hash of process → count and time. */
const HOLD = `${NOW}
  if ARGV[3] == '0' then redis.call('HDEL', KEYS[1], ARGV[2])
  else redis.call('HSET', KEYS[1], ARGV[2], ARGV[3] .. ' ' .. now) end
  redis.call('EXPIRE', KEYS[1], ${HOLD_SECONDS})
  local total = 0
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local count, at = string.match(all[i + 1], '([^ ]+) ([^ ]+)')
    if now - tonumber(at) < ${HOLD_SECONDS * 1000} then total = total + tonumber(count)
    else redis.call('HDEL', KEYS[1], all[i]) end
  end
  return total`

/** What `defineCommand` adds: sent by hash, the text only where the server does not know it. */
interface Scripts {
  readScore(key: string, now: number | ''): Promise<string>
  addScore(key: string, now: number | '', points: number): Promise<string>
  holdPlaces(key: string, now: number | '', process: string, count: number): Promise<number>
}

/** Told which process of this machine is dead, and what it held. */
export type Died = (process: string, keys: readonly string[]) => void

/** For tests. */
export interface RedisOptions {
  /** '': the server's clock. */
  readonly nowMs?: () => number | ''
  /** How long an answer may take. */
  readonly answerMs?: number
}

export class RedisState implements SharedState {
  readonly #redis: Redis & Scripts
  readonly #own: SharedState
  readonly #process: string
  readonly #log: Log
  readonly #nowMs: () => number | ''
  readonly #held = new Map<string, number>()
  /** Places of the dead that are to be given back when the server can be reached: process → keys. */
  readonly #dead = new Map<string, ReadonlySet<string>>()
  readonly #timer: NodeJS.Timeout
  #isUp = true
  #isRenewing = false

  /**
   * @param own makes the state of this machine; closed with this
   */
  constructor(
    url: string,
    process: string,
    own: (died: Died) => SharedState,
    log: Log,
    { nowMs = () => '', answerMs = ANSWER_MS }: RedisOptions = {},
  ) {
    this.#process = process
    this.#log = log
    this.#nowMs = nowMs
    const redis = new Redis(url, {
      connectTimeout: 2000,
      commandTimeout: answerMs,
      maxRetriesPerRequest: 0,
      // Without a connection the answer is no, at once.
      enableOfflineQueue: false,
      retryStrategy: (attempt) => Math.min(250 * attempt, 5000),
      keyPrefix: 'vesmail:',
    })
    redis.defineCommand('readScore', { numberOfKeys: 1, lua: READ_SCORE, readOnly: true })
    redis.defineCommand('addScore', { numberOfKeys: 1, lua: ADD_SCORE })
    redis.defineCommand('holdPlaces', { numberOfKeys: 1, lua: HOLD })
    this.#redis = redis as Redis & Scripts
    this.#own = own((dead, keys) => {
      this.#dead.set(dead, new Set(keys))
      void this.#bury()
    })
    redis.on('error', (error: Error) => this.#down(error.message))
    redis.on('ready', () => {
      this.#up()
      void this.#bury()
      // A server that was lost, or is another one now, knows nothing of our places.
      void this.#renew()
    })
    this.#timer = setInterval(() => void this.#renew(), RENEW_MS)
    this.#timer.unref()
  }

  add(key: string, points: number): void {
    this.#own.add(key, points)
    this.#redis
      .addScore(`score:${key}`, this.#nowMs(), points)
      .then(() => this.#up())
      .catch((error: Error) => this.#down(error.message))
  }

  async score(key: string): Promise<number> {
    try {
      return Number(await this.#redis.readScore(`score:${key}`, this.#nowMs()))
    } catch (error) {
      this.#down(messageOf(error))
      return this.#own.score(key)
    }
  }

  async hold(key: string, count: number): Promise<number> {
    if (count === 0) this.#held.delete(key)
    else this.#held.set(key, count)
    const own = await this.#own.hold(key, count)
    return (await this.#hold(key, this.#process, count)) ?? own
  }

  async recall(key: string): Promise<Buffer | null> {
    const own = await this.#own.recall(key)
    if (own !== null) return own
    try {
      const value = await this.#redis.getBuffer(`kept:${key}`)
      if (value !== null) this.#own.keep(key, value)
      return value
    } catch (error) {
      this.#down(messageOf(error))
      return null
    }
  }

  keep(key: string, value: Buffer): void {
    this.#own.keep(key, value)
    this.#redis.set(`kept:${key}`, value, 'EX', KEPT_TTL_SECONDS).catch((error: Error) => this.#down(error.message))
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    // Who is told to go gives its places back; each answer comes in time or not at all.
    const held = [...this.#held.keys()]
    this.#held.clear()
    await this.#inSlices(held, (key) => this.#hold(key, this.#process, 0))
    this.#redis.disconnect()
    await this.#own.close()
  }

  /** @returns what all hold together; null where the server does not say */
  async #hold(key: string, process: string, count: number): Promise<number | null> {
    try {
      return Number(await this.#redis.holdPlaces(`hold:${key}`, this.#nowMs(), process, count))
    } catch (error) {
      this.#down(messageOf(error))
      return null
    }
  }

  /** A sign of life for each place. */
  async #renew(): Promise<void> {
    if (this.#isRenewing || this.#redis.status !== 'ready') return
    this.#isRenewing = true
    await this.#inSlices([...this.#held.keys()], async (key) => {
      // As many as there are now: it may have changed since the slices were made.
      const count = this.#held.get(key)
      if (count !== undefined) await this.#hold(key, this.#process, count)
    })
    this.#isRenewing = false
  }

  /** The clients of a killed worker come back at once, and are not to be refused for its places. */
  async #bury(): Promise<void> {
    if (this.#redis.status !== 'ready') return
    for (const [process, keys] of [...this.#dead]) {
      this.#dead.delete(process)
      await this.#inSlices([...keys], (key) => this.#hold(key, process, 0))
    }
  }

  async #inSlices(keys: readonly string[], run: (key: string) => Promise<unknown>): Promise<void> {
    for (let at = 0; at < keys.length && this.#redis.status === 'ready'; at += RENEWED_AT_ONCE) {
      await Promise.all(keys.slice(at, at + RENEWED_AT_ONCE).map(run))
    }
  }

  /** Said once, not with each command. */
  #down(reason: string): void {
    if (this.#isUp) this.#log.write('warn', 'redis', { result: 'lost', reason })
    this.#isUp = false
  }

  #up(): void {
    if (!this.#isUp) this.#log.write('info', 'redis', { result: 'back' })
    this.#isUp = true
  }
}
