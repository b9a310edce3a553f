/**
 * Sealed messages that were asked for a moment ago, as they went over the wire: a viewer asks again (a second window, a
 * broken download). An answer serves within the second of its Date field, to the same words on the same site, the bearer's
 * token included; for no longer than the repository's yes is believed anyway (`item-cache.ts`); and each time the spool is
 * asked whether the copy still lies there, the same.
 *
 * Kept are octets that are sealed, and of the words a digest.
 */
import { hash } from 'node:crypto'
import type { NowParts } from './now.ts'

/** Each is a short message: 64 KiB and a head at most. */
const MAX_OCTETS = 4 * 1024 * 1024

export interface KeptAnswer {
  readonly octets: Buffer
  readonly isCurrent: () => boolean
}

interface Known extends KeptAnswer {
  readonly site: NowParts
}

export class SealedAnswers {
  readonly #known = new Map<string, Known>()
  #octets = 0
  #second = 0

  /** @param body of the request. @returns null where it has to be answered anew */
  of(site: NowParts, body: Buffer, nowMs: number): Buffer | null {
    this.#turn(nowMs)
    if (this.#known.size === 0) return null
    const known = this.#known.get(keyOf(body))
    return known?.site === site && known.isCurrent() ? known.octets : null
  }

  /** @param nowMs of its Date field */
  keep(site: NowParts, body: Buffer, answer: KeptAnswer, nowMs: number): void {
    this.#turn(nowMs)
    const key = keyOf(body)
    this.#octets += answer.octets.length - (this.#known.get(key)?.octets.length ?? 0)
    this.#known.set(key, { ...answer, site })
    for (const [oldest, { octets }] of this.#known) {
      if (this.#octets <= MAX_OCTETS) return
      this.#known.delete(oldest)
      this.#octets -= octets.length
    }
  }

  #turn(nowMs: number): void {
    const second = Math.floor(nowMs / 1000)
    if (second === this.#second) return
    this.#second = second
    this.#octets = 0
    this.#known.clear()
  }
}

function keyOf(body: Buffer): string {
  return hash('sha256', body, 'base64')
}
