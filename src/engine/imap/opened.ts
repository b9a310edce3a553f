/**
 * A sealed message being opened whole, and the few last ones kept at hand: clients read large messages in ranges, each of
 * which would otherwise cost the whole message again. Bounded in octets: of a message beyond the limit the view is made,
 * its content let go.
 */
import type { GatewayError } from '../../base/errors.ts'
import type { Asking } from '../asking.ts'
import { logChanges } from './changes.ts'
import { OpenRun } from './open-run.ts'
import { RangeReaders } from './range-reader.ts'
import type { OpenTransform } from './transforms.ts'
import type { MessageView } from './view/message-view.ts'
import { StructureScanner } from './view/scanner.ts'

export interface Opened {
  /** As the server would serve the message in plain; null = too large to be held. */
  readonly content: Buffer | null
  readonly view: MessageView
}

/** @param uid of the message, for the log @param done is called once */
export function openWhole(
  opener: OpenTransform,
  uid: number | null,
  out: Asking,
  limitOctets: number,
  done: (result: Opened | GatewayError) => void,
): OpenRun {
  const scanner = new StructureScanner()
  let chunks: Buffer[] | null = []
  let octets = 0
  return new OpenRun(opener, out, {
    write: (bytes) => {
      scanner.push(bytes)
      octets += bytes.length
      if (octets > limitOctets) chunks = null
      chunks?.push(bytes)
    },
    done: () => {
      logChanges(out, opener, uid)
      done({ content: chunks === null ? null : Buffer.concat(chunks), view: scanner.end() })
    },
    fail: done,
  })
}

/** Messages opened lately, by UID of the selected mailbox. */
export class OpenedCache {
  /** Of those too large to be held. */
  readonly readers = new RangeReaders()
  readonly #limitOctets: number
  readonly #messages = new Map<number, Opened>()
  #octets = 0

  constructor(limitOctets: number) {
    this.#limitOctets = limitOctets
  }

  get(uid: number): Opened | null {
    const found = this.#messages.get(uid)
    if (found === undefined) return null
    this.#messages.delete(uid)
    this.#messages.set(uid, found)
    return found
  }

  put(uid: number, opened: Opened): void {
    const octets = octetsOf(opened)
    if (octets > this.#limitOctets) return
    this.#drop(uid)
    this.#messages.set(uid, opened)
    this.#octets += octets
    for (const oldest of this.#messages.keys()) {
      if (this.#octets <= this.#limitOctets) break
      this.#drop(oldest)
    }
  }

  clear(): void {
    this.readers.clear()
    this.#messages.clear()
    this.#octets = 0
  }

  #drop(uid: number): void {
    const found = this.#messages.get(uid)
    if (found === undefined) return
    this.#messages.delete(uid)
    this.#octets -= octetsOf(found)
  }
}

/** Headers are kept in the view; a guess will do for them. */
function octetsOf({ content, view }: Opened): number {
  return (content?.length ?? 0) + 4096 + view.root.headerOctets.length
}
