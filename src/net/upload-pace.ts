/**
 * How slow an upload may be: a bad line shall get its message through, and who trickles on purpose shall not hold many
 * connections for days. Only time counts in which the client was listened to. Silence has a limit of its own (`http-front.ts`).
 */

/** A stretch is judged at its end. */
const STRETCH_MS = 60_000
/** Less in one stretch is no progress (half a KiB a second): octets. */
const MIN_OCTETS = 30 * 1024
/** Less in one stretch (16 KiB/s) is slow: of those one address may have some only. */
const SLOW_OCTETS = 960 * 1024
const MAX_SLOW_PER_ADDRESS = 32

/** The slow ones of all connections, by address. */
export class UploadPaces {
  readonly #slow = new Map<string, number>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** @param address what one customer has */
  begin(address: string): UploadPace {
    return new UploadPace(this.#nowMs, (by) => this.#count(address, by))
  }

  get addresses(): number {
    return this.#slow.size
  }

  /** @returns false: there are too many, and it is not counted */
  #count(address: string, by: 1 | -1): boolean {
    const count = (this.#slow.get(address) ?? 0) + by
    if (count > MAX_SLOW_PER_ADDRESS) return false
    if (count === 0) this.#slow.delete(address)
    else this.#slow.set(address, count)
    return true
  }
}

export class UploadPace {
  readonly #nowMs: () => number
  readonly #count: (by: 1 | -1) => boolean
  /** When the stretch would have begun had the client always been listened to. */
  #begunMs: number
  #heldMs: number | null = null
  #octets = 0
  #isSlow = false

  constructor(nowMs: () => number, count: (by: 1 | -1) => boolean) {
    this.#nowMs = nowMs
    this.#count = count
    this.#begunMs = nowMs()
  }

  /** @returns false: it is too slow, and has to end */
  took(octets: number): boolean {
    this.#octets += octets
    const nowMs = this.#heldMs ?? this.#nowMs()
    if (nowMs - this.#begunMs < STRETCH_MS) return true
    const came = this.#octets
    this.#begunMs = nowMs
    this.#octets = 0
    const isSlow = came < SLOW_OCTETS
    if (isSlow !== this.#isSlow) {
      if (!this.#count(isSlow ? 1 : -1)) return false
      this.#isSlow = isSlow
    }
    return came >= MIN_OCTETS
  }

  /** The client is not listened to from now on. */
  hold(): void {
    this.#heldMs ??= this.#nowMs()
  }

  go(): void {
    if (this.#heldMs !== null) this.#begunMs += this.#nowMs() - this.#heldMs
    this.#heldMs = null
  }

  /** Whether it came to its end or not. */
  end(): void {
    if (this.#isSlow) this.#count(-1)
    this.#isSlow = false
  }
}
