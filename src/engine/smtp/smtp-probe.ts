/** Tries a provider's submission server and tells how it went (now.md, Probe): lines for a person, then 235 or the failure. */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Provider } from '../account.ts'
import { DialogueAsking } from '../dialogue.ts'
import type { Action, Event, Session, SessionStart } from '../session.ts'
import { ProviderLogin } from './provider-login.ts'
import { isPositive, printReply, type Reply, ReplyFramer, replyOfFault } from './reply.ts'

/** now.md */
const SILENCE_MS = 15_000

export class SmtpProbe implements Session {
  readonly #asking: DialogueAsking
  readonly #replies = new ReplyFramer()
  readonly #login: ProviderLogin
  #over = false

  constructor(start: SessionStart, provider: Provider) {
    this.#asking = new DialogueAsking(
      (text) => this.#asking.send('client', `099-[DEBUG] ${text}\r\n`),
      [provider.password.expose(), `\0${provider.login}\0${provider.password.expose()}`],
    )
    this.#login = new ProviderLogin(
      {
        provider,
        helo: start.host,
        random: start.random,
        done: ({ reply }) => this.#end(reply, null),
        failed: (error, reply) => this.#end(reply, error),
      },
      this.#asking,
    )
  }

  start(): Action[] {
    this.#asking.push({ do: 'deadline', ms: SILENCE_MS })
    this.#login.start()
    return this.#asking.takeActions()
  }

  step(event: Event): Action[] {
    if (this.#over) return []
    switch (event.on) {
      case 'bytes':
        if (event.side === 'upstream') this.#read(event.bytes)
        break
      case 'closed':
        if (event.side === 'upstream') this.#login.onGone()
        else this.#end(null, new GatewayError('IO', { side: 'client' }))
        break
      case 'answer':
      case 'refused':
        this.#asking.settle(event)
        break
      case 'deadline':
        this.#end(null, new GatewayError('UPSTREAM_CONNECTION', { reason: 'silence' }))
        break
      case 'drain':
        this.#end(null, new GatewayError('SHUTDOWN'))
        break
    }
    return this.#asking.takeActions()
  }

  wants(): boolean {
    return true
  }

  #read(bytes: Buffer): void {
    this.#asking.push({ do: 'deadline', ms: SILENCE_MS })
    try {
      this.#replies.push(bytes)
      for (let reply = this.#replies.next(); reply !== null; reply = this.#replies.next()) {
        for (const line of reply.lines) this.#asking.tell(`${reply.code} ${line}`)
        this.#login.onReply(reply, this.#replies.length > 0)
        if (this.#over) return
      }
    } catch (error) {
      this.#end(null, asGatewayError(error))
    }
  }

  #end(reply: Reply | null, error: GatewayError | null): void {
    if (this.#over) return
    this.#over = true
    this.#login.abandon()
    const { code } = error ?? { code: null }
    this.#asking.log(code === null ? 'info' : 'warn', 'login', {
      result: code === null ? 'ok' : 'failed',
      code,
      probe: true,
    })
    const last = reply !== null && (error === null || !isPositive(reply)) ? reply : failureReply(error)
    this.#asking.send('client', printReply(last))
    this.#asking.push({ do: 'close', why: 'quit' })
  }
}

function failureReply(error: GatewayError | null): Reply {
  return replyOfFault(error?.smtpLoginReply ?? '454 4.7.0', error?.wireText ?? '')
}
