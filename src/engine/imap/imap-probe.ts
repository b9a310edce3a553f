/** Tries a provider's IMAP server and tells how it went (now.md, Probe): lines for a person, then the tagged outcome. */
import { GatewayError } from '../../base/errors.ts'
import type { Provider } from '../account.ts'
import { DialogueAsking } from '../dialogue.ts'
import type { Action, Event, Session, SessionStart } from '../session.ts'
import { Framer } from './framer.ts'
import { ProviderLogin } from './provider-login.ts'

/** now.md */
const SILENCE_MS = 15_000
const MAX_LINE_OCTETS = 64 * 1024

export class ImapProbe implements Session {
  readonly #start: SessionStart
  readonly #provider: Provider
  readonly #asking: DialogueAsking
  // Login is done before anything that comes in literals.
  readonly #framer = new Framer({ maxLineOctets: MAX_LINE_OCTETS, literalOf: () => null })
  #login: ProviderLogin | null = null
  #over = false

  constructor(start: SessionStart, provider: Provider) {
    this.#start = start
    this.#provider = provider
    this.#asking = new DialogueAsking(
      (text) => this.#asking.send('client', `* XDEBUG ${text}\r\n`),
      [provider.password.expose(), `\0${provider.login}\0${provider.password.expose()}`],
    )
  }

  start(): Action[] {
    const { host, port, tls } = this.#provider
    this.#asking.push({ do: 'deadline', ms: SILENCE_MS })
    this.#asking.ask(
      'connect',
      { host, port, level: tls.level, persist: tls.persist },
      ({ tls: isTls, binding }) => {
        this.#login = new ProviderLogin({
          provider: this.#provider,
          tls: isTls,
          binding: binding ?? null,
          random: this.#start.random,
          out: this.#asking,
          framer: this.#framer,
          done: ({ okText }) => {
            this.#asking.log('info', 'login', { result: 'ok', probe: true })
            this.#end(`probe${okText.toString('latin1').trimEnd()}`)
          },
          failed: (error) => this.#fail(error),
        })
      },
      (error) => this.#fail(error),
    )
    return this.#asking.takeActions()
  }

  step(event: Event): Action[] {
    if (this.#over) return []
    switch (event.on) {
      case 'bytes':
        if (event.side === 'upstream') this.#read(event.bytes)
        break
      case 'closed':
        this.#fail(new GatewayError('UPSTREAM_CONNECTION', { reason: 'closed' }))
        break
      case 'answer':
      case 'refused':
        this.#asking.settle(event)
        break
      case 'deadline':
        this.#fail(new GatewayError('UPSTREAM_CONNECTION', { reason: 'silence' }))
        break
      case 'drain':
        this.#fail(new GatewayError('SHUTDOWN'))
        break
    }
    return this.#asking.takeActions()
  }

  wants(): boolean {
    return true
  }

  #read(bytes: Buffer): void {
    this.#asking.push({ do: 'deadline', ms: SILENCE_MS })
    this.#framer.push(bytes)
    try {
      for (let piece = this.#framer.next(); piece !== null && !this.#over; piece = this.#framer.next()) {
        this.#asking.tell(piece.bytes.toString('latin1'))
        this.#login?.line(piece.bytes)
      }
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.#fail(error)
    }
  }

  #fail(error: GatewayError): void {
    this.#asking.log('warn', 'login', { result: 'failed', code: error.code, probe: true })
    this.#end(`probe NO ${error.wireText}`)
  }

  #end(line: string): void {
    if (this.#over) return
    this.#over = true
    this.#asking.send('client', `${line}\r\n`)
    this.#asking.push({ do: 'close', why: 'quit' })
  }
}
