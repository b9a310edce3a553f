/**
 * One login, from the client's credentials to the provider's yes: the account, then the provider (`provider-login.ts`).
 * What fails is told in the words of smtp.md §1 after a delay, whatever it was.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Account } from '../account.ts'
import type { Asking } from '../asking.ts'
import type { Credentials } from '../sasl/credentials.ts'
import { ProviderLogin, type ProviderLoginResult } from './provider-login.ts'
import { type Reply, replyOfFault } from './reply.ts'

/** smtp.md §1: guessing passwords takes time. */
const FAILED_LOGIN_MS = 2000
/** Of a name that anybody may send. */
const MAX_LOGGED_CHARACTERS = 256

export interface ClientLoginOptions {
  readonly credentials: Credentials
  /** The client's own name. */
  readonly helo: string
  readonly random: (octets: number) => Buffer
  readonly joined: (account: Account, result: ProviderLoginResult) => void
  /** After the delay; the provider is hung up on. */
  readonly failed: (error: GatewayError, reply: Reply) => void
}

export class ClientLogin {
  readonly #options: ClientLoginOptions
  readonly #asking: Asking
  #provider: ProviderLogin | null = null

  constructor(options: ClientLoginOptions, asking: Asking) {
    this.#options = options
    this.#asking = asking
    asking.ask(
      'login',
      options.credentials,
      (account) => this.#toProvider(account),
      (error) => this.#fail(error, null),
    )
  }

  /** @param more the provider sent more than this reply already */
  onReply(reply: Reply, more: boolean): void {
    this.#provider?.onReply(reply, more)
  }

  onGone(): void {
    this.#provider?.onGone()
  }

  abandon(): void {
    this.#provider?.abandon()
  }

  #toProvider(account: Account): void {
    const provider = account.profile.smtp
    if (provider === null) {
      this.#fail(new GatewayError('PROFILE_INVALID'), null)
      return
    }
    const { helo, random, joined } = this.#options
    this.#provider = new ProviderLogin(
      {
        provider,
        helo,
        random,
        done: (result) => {
          const { name } = account
          this.#asking.log('info', 'login', { result: 'ok', account: name, user: account.user })
          joined(account, result)
        },
        failed: (error, reply) => this.#fail(error, reply),
      },
      this.#asking,
    )
    this.#provider.start()
  }

  /** @param reply what the provider said */
  #fail(error: GatewayError, reply: Reply | null): void {
    const answer = failureReply(error, reply)
    this.#provider = null
    this.#asking.push({ do: 'hang-up', abort: false })
    this.#asking.log('warn', 'login', {
      result: answer.code >= 500 ? 'denied' : 'failed',
      code: error.code,
      account: this.#options.credentials.account.slice(0, MAX_LOGGED_CHARACTERS),
      reason: error.detail.reason ?? error.detail.at ?? null,
    })
    const tell = (): void => this.#options.failed(error, answer)
    this.#asking.ask('wait', { ms: FAILED_LOGIN_MS }, tell, tell)
  }
}

/** Our lines around the provider's own. */
function failureReply(error: GatewayError, reply: Reply | null): Reply {
  const codes = error.smtpLoginReply
  if (reply === null) return replyOfFault(codes, error.wireText)
  const ours = replyOfFault(codes, error.wireText, 'Check the server, login and password in the VESmail profile')
  const theirs = reply.lines.map((line) => `${reply.code} ${line}`)
  return { code: ours.code, lines: [ours.lines[0]!, ...theirs, ours.lines[1]!] }
}
