/**
 * Copies of one session's sealed messages, on their way into the spool beside the provider's. Writing never holds the
 * mail up and never fails it: a slow or full disk costs the copy.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Action } from '../../engine/session.ts'
import type { Spool, SpoolWriter } from './spool.ts'

/** Octets that may wait for the disk before the copy is given up: mail goes on at its own pace. */
const MAX_WAITING_OCTETS = 4 * 1024 * 1024

export type SpoolAction = Extract<Action, { readonly do: 'spool' }>

export interface SpoolCopiesOptions {
  /** null: this tenant spools nothing. */
  readonly spool: () => Spool | null
  /** E-mail address of the session's VES user; null before login. */
  readonly creator: () => string | null
  readonly log: Log
}

interface Copy {
  /** Everything about this copy, in order; never rejects. */
  work: Promise<void>
  writer: SpoolWriter | null
  waitingOctets: number
  lost: boolean
}

export class SpoolCopies {
  readonly #options: SpoolCopiesOptions
  #copy: Copy | null = null

  constructor(options: SpoolCopiesOptions) {
    this.#options = options
  }

  take(action: SpoolAction): void {
    if (action.step === 'begin') this.#begin(action.messageId)
    else if (action.step === 'octets') this.#octets(action.bytes)
    else this.#end(action.step === 'keep')
  }

  #begin(messageId: string): void {
    this.#end(false)
    const creator = this.#options.creator()
    const spool = this.#options.spool()
    if (creator === null || spool === null) return
    const copy: Copy = { work: Promise.resolve(), writer: null, waitingOctets: 0, lost: false }
    this.#copy = copy
    this.#do(copy, async () => {
      copy.writer = await spool.create({ creator, messageId })
    })
  }

  #octets(bytes: Buffer): void {
    const copy = this.#copy
    if (copy === null || copy.lost) return
    copy.waitingOctets += bytes.length
    if (copy.waitingOctets > MAX_WAITING_OCTETS) {
      this.#lose(copy, 'the disk is too slow')
      return
    }
    this.#do(copy, async () => {
      await copy.writer?.write(bytes)
      copy.waitingOctets -= bytes.length
    })
  }

  #end(keep: boolean): void {
    const copy = this.#copy
    if (copy === null) return
    this.#copy = null
    if (keep) {
      this.#do(copy, async () => {
        if ((await copy.writer?.commit()) === false) this.#lose(copy, 'its name is taken')
      })
    }
    const dropped = async (): Promise<void> => copy.writer?.abort()
    copy.work = copy.work.then(dropped).catch((error: unknown) => this.#lose(copy, reasonOf(error)))
  }

  #do(copy: Copy, step: () => Promise<void>): void {
    copy.work = copy.work.then(async () => {
      if (copy.lost) return
      await step().catch((error: unknown) => this.#lose(copy, reasonOf(error)))
    })
  }

  #lose(copy: Copy, reason: string): void {
    if (copy.lost) return
    copy.lost = true
    this.#options.log.write('warn', 'spool', { result: 'copy lost', reason })
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof GatewayError && typeof error.detail.reason === 'string') return error.detail.reason
  return error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown'
}
