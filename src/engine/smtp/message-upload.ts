/**
 * One message after its 354: the transfer with the questions that sealing asks, what to tell the client at its end,
 * and what to log. The relay knows of the queue, this of the message.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Account } from '../account.ts'
import type { Asking } from '../asking.ts'
import type { SealKeyAnswer } from '../seal/message-key.ts'
import type { SessionStart } from '../session.ts'
import type { Transform, TransformAsk } from '../transform.ts'
import { DataTransfer } from './data-transfer.ts'
import type { Envelope, Outcome } from './envelope.ts'
import { receivedHeader } from './received.ts'
import { isPositive, type Reply, withLine } from './reply.ts'

export interface MessageUploadOptions {
  readonly start: SessionStart
  readonly account: Account
  readonly helo: string
  readonly envelope: Envelope
  readonly outcome: Outcome
  readonly makeSealer: (account: Account) => Transform
  /** The client's final dot is read, and the provider has all of it, or (broken) never will. */
  readonly ended: () => void
}

export class MessageUpload {
  readonly #options: MessageUploadOptions
  readonly #asking: Asking
  readonly #transfer: DataTransfer
  #uri: string | null = null
  #breakdown: { readonly error: GatewayError; readonly reply: Reply | null } | null = null

  constructor(options: MessageUploadOptions, asking: Asking) {
    this.#options = options
    this.#asking = asking
    const { start, account, helo, envelope, outcome, makeSealer, ended } = options
    const sealed = outcome === 'sealed'
    const { client, local, host, version } = start
    const { mode } = envelope
    this.#transfer = new DataTransfer({
      transform: sealed ? makeSealer(account) : null,
      head: receivedHeader({ client, local, helo, host, version, encrypt: sealed, mode, nowMs: start.nowMs() }),
      sevenBit: envelope.mustBeSevenBit,
      maxOctets: start.maxMessageOctets ?? null,
      send: (bytes) => asking.send('upstream', bytes),
      copy: (bytes) => {
        if (sealed) asking.push({ do: 'spool', step: 'octets', bytes })
      },
      ask: (ask) => this.#ask(ask),
      broken: (error) => {
        this.#breakdown ??= { error, reply: null }
        // Before the final dot: the provider forgets what it has (RFC 5321 §4.1.1.10).
        asking.push({ do: 'hang-up', abort: true })
        asking.push({ do: 'spool', step: 'drop' })
        asking.log('error', 'message', { result: 'refused', code: error.code, mode })
      },
      ended,
    })
  }

  /** Why there will be no message, and the provider's own words if it has any; null while there may be one. */
  get breakdown(): { readonly error: GatewayError; readonly reply: Reply | null } | null {
    return this.#breakdown
  }

  /** The client's final dot has not been read yet. */
  get readsOn(): boolean {
    return this.#transfer.readsOn
  }

  get wants(): boolean {
    return this.#transfer.wants
  }

  /** @returns octets behind the final dot; null before it */
  push(bytes: Buffer): Buffer | null {
    return this.#transfer.push(bytes)
  }

  /** @param reply the provider's no */
  break(error: GatewayError, reply: Reply | null): void {
    this.#breakdown ??= { error, reply }
    this.#transfer.fail(error)
  }

  /** What the client gets for the provider's reply to the whole message. */
  finalReply(reply: Reply): Reply {
    const accepted = isPositive(reply)
    this.#asking.push({ do: 'spool', step: accepted ? 'keep' : 'drop' })
    this.#log(accepted ? 'info' : 'warn', accepted ? 'accepted' : 'refused by the provider', reply.code)
    if (!accepted) return reply
    return withLine(reply, this.#uri ?? 'VESmail WARNING: This email was NOT encrypted')
  }

  /** The provider has all of it, and its reply will never be known: it may be delivered, and be sent again. */
  outcomeUnknown(why: string): void {
    // If it is delivered, its readers look for the copy; if it is sent again, that one takes its place.
    this.#asking.push({ do: 'spool', step: 'keep' })
    this.#log('error', 'outcome unknown', why)
  }

  #log(level: 'info' | 'warn' | 'error', result: string, code: number | string): void {
    const { envelope, outcome } = this.#options
    const { fromClient, toProvider } = this.#transfer.octets
    this.#asking.log(level, 'message', {
      result,
      code,
      mode: envelope.mode,
      encrypted: outcome === 'sealed',
      uri: this.#uri,
      recipients: envelope.accepted.length,
      vaults: envelope.vaults,
      fromClientOctets: fromClient,
      toProviderOctets: toProvider,
    })
  }

  #ask(ask: TransformAsk): void {
    const { envelope } = this.#options
    const answered = (answer: unknown): void => {
      if (ask.kind === 'seal-key') {
        this.#uri = (answer as SealKeyAnswer).uri
        // Nothing of a sealed message leaves before: the copy is whole.
        this.#asking.push({ do: 'spool', step: 'begin', messageId: ask.ask.messageId })
      }
      this.#transfer.answer(ask.id, answer)
    }
    const refused = (error: GatewayError): void => this.#transfer.fail(error)
    if (ask.kind === 'seal-key') {
      const question = { ...ask.ask, recipients: envelope.accepted, mode: envelope.mode }
      this.#asking.ask('seal-key', question, answered, refused)
    } else if (ask.kind === 'batch') {
      this.#asking.ask('batch', ask.ask, answered, refused)
    } else {
      refused(new GatewayError('INTERNAL', { reason: 'a sealer opens nothing' }))
    }
  }
}
