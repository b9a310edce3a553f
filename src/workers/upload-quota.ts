/**
 * How much relays may upload for one creator (now.md): so many a minute over all workers and machines that share their
 * state, and no more than so many messages and octets in the spool. What lies there is counted seldom, and uploads of
 * this worker are added to it; so with several workers a little more may come than is allowed, never much: the rate
 * bounds what all of them take in between.
 */
import type { Spool, SpoolUsage } from '../net/now/spool.ts'
import type { TooMany, UploadPlace } from '../net/now/upload.ts'
import { type SharedState, stateKey } from './shared-state.ts'

export interface UploadLimits {
  /** null: no limit. The same for the others. */
  readonly perMinute: number | null
  readonly messages: number | null
  readonly octets: number | null
}

/** Scores fall by one a second. */
const MINUTE = 60
/** So long a count is believed: the spool may be large, and it may be far away. */
const COUNTED_MS = 30_000
/** Creators remembered; who is forgotten is counted again. */
const MAX_CREATORS = 10_000

interface Count {
  found: Promise<SpoolUsage>
  untilMs: number
  /** Uploads of this worker that were kept since. */
  kept: SpoolUsage
  /** And those under way, however long they take. */
  messages: number
  octets: number
}

export class UploadQuota {
  readonly #spool: Spool
  readonly #state: SharedState
  readonly #limits: UploadLimits
  readonly #nowMs: () => number
  readonly #counts = new Map<string, Count>()

  constructor(spool: Spool, state: SharedState, limits: UploadLimits, nowMs: () => number = () => performance.now()) {
    this.#spool = spool
    this.#state = state
    this.#limits = limits
    this.#nowMs = nowMs
  }

  /** @throws where the spool cannot be counted */
  async admit(creator: string): Promise<UploadPlace | TooMany> {
    if (!(await this.#isInTime(creator))) return { tooMany: 'uploads' }
    const { messages, octets } = this.#limits
    if (messages === null && octets === null) return { grow: () => true, end: () => {} }
    const count = this.#countOf(creator)
    // Before anybody is waited for: of many uploads at once each sees the others.
    const place = new Place(count, octets)
    let isRoom = false
    try {
      const found = await count.found
      isRoom = messages === null || found.copies + count.kept.copies + count.messages <= messages
      place.foundOctets = found.octets
    } catch (error) {
      // The next one counts again.
      count.untilMs = Number.NEGATIVE_INFINITY
      throw error
    } finally {
      if (!isRoom) place.end(false)
    }
    return isRoom ? place : { tooMany: 'messages' }
  }

  /**
   * Counted before it is judged, so that of uploads at the same moment none is overlooked; one that is refused does not
   * count, or who tries again and again would never get through.
   */
  async #isInTime(creator: string): Promise<boolean> {
    const { perMinute } = this.#limits
    if (perMinute === null) return true
    const key = stateKey('uploads of creator', creator.toLowerCase())
    const points = MINUTE / perMinute
    this.#state.add(key, points)
    // A thousandth for the rounding of sums.
    if ((await this.#state.score(key)) <= MINUTE + 0.001) return true
    this.#state.add(key, -points)
    return false
  }

  #countOf(creator: string): Count {
    const known = this.#counts.get(creator)
    if (known !== undefined && known.untilMs > this.#nowMs()) return known
    const fresh = {
      found: this.#spool.usage(creator, this.#limits.messages ?? Number.POSITIVE_INFINITY),
      untilMs: this.#nowMs() + COUNTED_MS,
      kept: { copies: 0, octets: 0 },
    }
    const count: Count = known === undefined ? { ...fresh, messages: 0, octets: 0 } : Object.assign(known, fresh)
    this.#counts.delete(creator)
    this.#counts.set(creator, count)
    if (this.#counts.size > MAX_CREATORS) this.#counts.delete(this.#counts.keys().next().value as string)
    return count
  }
}

class Place implements UploadPlace {
  readonly #count: Count
  readonly #maxOctets: number | null
  #octets = 0
  /** In the spool when it was counted. */
  foundOctets = 0

  constructor(count: Count, maxOctets: number | null) {
    this.#count = count
    this.#maxOctets = maxOctets
    count.messages++
  }

  grow(octets: number): boolean {
    const count = this.#count
    const total = this.foundOctets + count.kept.octets + count.octets + octets
    if (this.#maxOctets !== null && total > this.#maxOctets) return false
    count.octets += octets
    this.#octets += octets
    return true
  }

  end(isKept: boolean): void {
    const count = this.#count
    count.messages--
    count.octets -= this.#octets
    if (isKept) count.kept = { copies: count.kept.copies + 1, octets: count.kept.octets + this.#octets }
  }
}
