/**
 * A sealed message being opened, and the few last ones kept at hand: clients read large messages in ranges, each of
 * which would otherwise cost the whole message again. Bounded in octets.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Asking } from '../asking.ts'
import type { Transform, TransformAction } from '../transform.ts'
import type { MessageView } from './view/message-view.ts'
import { StructureScanner } from './view/scanner.ts'
import { ServedOctets } from './view/served-octets.ts'

export interface Opened {
  /** As the server would serve the message in plain. */
  readonly content: Buffer
  readonly view: MessageView
}

/** Feeds a transform, answers its questions, gathers what it writes. */
export class Opening {
  readonly #transform: Transform
  readonly #out: Asking
  readonly #limitOctets: number
  readonly #done: (result: Opened | GatewayError) => void
  readonly #scanner = new StructureScanner()
  readonly #served = new ServedOctets()
  readonly #chunks: Buffer[] = []
  #octets = 0
  #over = false

  constructor(transform: Transform, out: Asking, limitOctets: number, done: (result: Opened | GatewayError) => void) {
    this.#transform = transform
    this.#out = out
    this.#limitOctets = limitOctets
    this.#done = done
  }

  get wants(): boolean {
    return this.#over || this.#transform.wants
  }

  push(bytes: Buffer): void {
    this.#run(() => this.#transform.push(bytes))
  }

  end(): void {
    this.#run(() => this.#transform.end())
  }

  /** Nobody waits for the result any more. */
  drop(): void {
    this.#over = true
    this.#chunks.length = 0
  }

  #run(step: () => TransformAction[]): void {
    if (this.#over) return
    try {
      for (const action of step()) this.#perform(action)
    } catch (error) {
      this.#fail(asGatewayError(error))
    }
  }

  #perform(action: TransformAction): void {
    if (this.#over) return
    switch (action.do) {
      case 'write':
        for (const bytes of this.#served.push(action.bytes)) this.#keep(bytes)
        break
      case 'ask': {
        const answered = (answer: unknown): void => this.#run(() => this.#transform.answer(action.id, answer))
        const refused = (error: GatewayError): void => this.#fail(error)
        if (action.kind === 'open-key') this.#out.ask('open-key', action.ask, answered, refused)
        else if (action.kind === 'batch') this.#out.ask('batch', action.ask, answered, refused)
        else throw new GatewayError('INTERNAL', { question: action.kind })
        break
      }
      case 'done': {
        for (const bytes of this.#served.end()) this.#keep(bytes)
        this.#over = true
        const view = this.#scanner.end()
        this.#done({ content: Buffer.concat(this.#chunks), view })
      }
    }
  }

  #keep(bytes: Buffer): void {
    this.#octets += bytes.length
    if (this.#octets > this.#limitOctets) throw new GatewayError('BUFFER_EXCEEDED', { octets: this.#octets })
    this.#chunks.push(bytes)
    this.#scanner.push(bytes)
  }

  #fail(error: GatewayError): void {
    if (this.#over) return
    this.drop()
    this.#done(error)
  }
}

/** Messages opened lately, by UID of the selected mailbox. */
export class OpenedCache {
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
    const octets = opened.content.length
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
    this.#messages.clear()
    this.#octets = 0
  }

  #drop(uid: number): void {
    const found = this.#messages.get(uid)
    if (found === undefined) return
    this.#messages.delete(uid)
    this.#octets -= found.content.length
  }
}
