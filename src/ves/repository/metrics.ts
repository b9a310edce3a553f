/** Counters of a repository, by route and status: read by the administrator and by monitoring. */

interface Counted {
  requests: number
  ms: number
}

/** Upper bounds, milliseconds. */
const BUCKETS = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000] as const

export class Metrics {
  readonly #byRoute = new Map<string, Counted>()
  readonly #buckets = new Array<number>(BUCKETS.length + 1).fill(0)

  count(route: string, status: number, ms: number): void {
    const name = `${route} ${status}`
    const counted = this.#byRoute.get(name) ?? { requests: 0, ms: 0 }
    counted.requests++
    counted.ms += ms
    this.#byRoute.set(name, counted)
    const at = BUCKETS.findIndex((bound) => ms <= bound)
    this.#buckets[at < 0 ? BUCKETS.length : at]!++
  }

  toJson(): { requests: Record<string, number>; milliseconds: Record<string, number> } {
    const requests: Record<string, number> = {}
    const milliseconds: Record<string, number> = {}
    for (const [name, counted] of this.#byRoute) {
      requests[name] = counted.requests
      milliseconds[name] = counted.ms
    }
    return { requests, milliseconds }
  }

  /** Prometheus exposition format, version 0.0.4. */
  toText(): string {
    const lines = ['# TYPE vesmail_repository_requests_total counter']
    for (const [name, counted] of this.#byRoute) {
      const [, method, route, status] = /^(?:(GET|POST) )?(\S+) (\d+)$/.exec(name) ?? []
      const labels = `method="${method ?? ''}",route="${route ?? ''}",status="${status ?? ''}"`
      lines.push(`vesmail_repository_requests_total{${labels}} ${counted.requests}`)
    }
    lines.push('# TYPE vesmail_repository_request_milliseconds histogram')
    let below = 0
    BUCKETS.forEach((bound, n) => {
      below += this.#buckets[n]!
      lines.push(`vesmail_repository_request_milliseconds_bucket{le="${bound}"} ${below}`)
    })
    const total = below + this.#buckets[BUCKETS.length]!
    let ms = 0
    for (const counted of this.#byRoute.values()) ms += counted.ms
    lines.push(`vesmail_repository_request_milliseconds_bucket{le="+Inf"} ${total}`)
    lines.push(
      `vesmail_repository_request_milliseconds_sum ${ms}`,
      `vesmail_repository_request_milliseconds_count ${total}`,
    )
    return `${lines.join('\n')}\n`
  }
}
