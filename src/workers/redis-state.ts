/**
 * The state that several machines share, in Redis or Valkey. It answers in time or not at all: what it does not say
 * soon, the machine's own state says, which is kept up to date beside it. A lost Redis never stops mail.
 */
import { Redis } from 'ioredis'
import type { Log } from '../base/log.ts'
import { HOLD_SECONDS, type SharedState } from './shared-state.ts'

const ANSWER_MS = 250
const RENEW_MS = 20_000
/** Scores fall by one a second, and nobody has a score of a day. */
const SCORE_TTL_SECONDS = 86_400
/** What nobody has asked for on another machine in that time is learned again. */
const KEPT_TTL_SECONDS = 30 * 86_400

/** KEYS[1]; points, now in ms. Score and time in one string. */
const ADD = `
  local known = redis.call('GET', KEYS[1])
  local score = 0
  if known then
    local was, at = string.match(known, '([^ ]+) ([^ ]+)')
    score = math.max(0, tonumber(was) - math.max(0, tonumber(ARGV[2]) - tonumber(at)) / 1000)
  end
  score = score + tonumber(ARGV[1])
  redis.call('SET', KEYS[1], score .. ' ' .. ARGV[2], 'EX', ${SCORE_TTL_SECONDS})
  return tostring(score)`

/** KEYS[1]; process, count, now in ms. A hash of process → count and time. */
const HOLD = `
  if ARGV[2] == '0' then redis.call('HDEL', KEYS[1], ARGV[1])
  else redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3]) end
  redis.call('EXPIRE', KEYS[1], ${HOLD_SECONDS})
  local total = 0
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local count, at = string.match(all[i + 1], '([^ ]+) ([^ ]+)')
    if tonumber(ARGV[3]) - tonumber(at) < ${HOLD_SECONDS * 1000} then total = total + tonumber(count)
    else redis.call('HDEL', KEYS[1], all[i]) end
  end
  return total`

export class RedisState implements SharedState {
  readonly #redis: Redis
  readonly #own: SharedState
  readonly #process: string
  readonly #log: Log
  readonly #nowMs: () => number
  readonly #held = new Map<string, number>()
  readonly #timer: NodeJS.Timeout
  #isUp = true

  /** @param own of this machine; closed with this */
  constructor(url: string, process: string, own: SharedState, log: Log, nowMs: () => number = Date.now) {
    this.#own = own
    this.#process = process
    this.#log = log
    this.#nowMs = nowMs
    this.#redis = new Redis(url, {
      connectTimeout: 2000,
      commandTimeout: ANSWER_MS,
      maxRetriesPerRequest: 0,
      // Without a connection the answer is no, at once.
      enableOfflineQueue: false,
      retryStrategy: (attempt) => Math.min(250 * attempt, 5000),
      keyPrefix: 'vesmail:',
    })
    this.#redis.on('error', (error: Error) => this.#down(error.message))
    this.#redis.on('ready', () => this.#up())
    this.#timer = setInterval(() => this.#renew(), RENEW_MS)
    this.#timer.unref()
  }

  add(key: string, points: number): void {
    this.#own.add(key, points)
    this.#redis
      .eval(ADD, 1, `score:${key}`, points, this.#nowMs())
      .then(() => this.#up())
      .catch((error: Error) => this.#down(error.message))
  }

  async score(key: string): Promise<number> {
    try {
      const known = await this.#redis.get(`score:${key}`)
      if (known === null) return 0
      const [score = 0, at = 0] = known.split(' ').map(Number)
      return Math.max(0, score - Math.max(0, this.#nowMs() - at) / 1000)
    } catch (error) {
      this.#down(error instanceof Error ? error.message : String(error))
      return this.#own.score(key)
    }
  }

  async hold(key: string, count: number): Promise<number> {
    if (count === 0) this.#held.delete(key)
    else this.#held.set(key, count)
    const own = await this.#own.hold(key, count)
    try {
      return Number(await this.#redis.eval(HOLD, 1, `hold:${key}`, this.#process, count, this.#nowMs()))
    } catch (error) {
      this.#down(error instanceof Error ? error.message : String(error))
      return own
    }
  }

  async recall(key: string): Promise<Buffer | null> {
    const own = await this.#own.recall(key)
    if (own !== null) return own
    try {
      const value = await this.#redis.getBuffer(`kept:${key}`)
      if (value !== null) this.#own.keep(key, value)
      return value
    } catch (error) {
      this.#down(error instanceof Error ? error.message : String(error))
      return null
    }
  }

  keep(key: string, value: Buffer): void {
    this.#own.keep(key, value)
    this.#redis.set(`kept:${key}`, value, 'EX', KEPT_TTL_SECONDS).catch((error: Error) => this.#down(error.message))
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#redis.disconnect()
    await this.#own.close()
  }

  #renew(): void {
    for (const [key, count] of this.#held) {
      this.#redis
        .eval(HOLD, 1, `hold:${key}`, this.#process, count, this.#nowMs())
        .catch((error: Error) => this.#down(error.message))
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
