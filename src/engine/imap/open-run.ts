/**
 * Feeds a transform that opens, asks its questions, and gives what it writes to a sink, as the server would serve it
 * (CRLF). One run per message or leaf; ends by `done` or `fail`, once.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Asking } from '../asking.ts'
import type { Transform, TransformAction } from '../transform.ts'
import { ServedOctets } from './view/served-octets.ts'

export interface OpenSink {
  /** In order; kept. May throw a GatewayError, which ends the run. */
  write(bytes: Buffer): void
  done(): void
  fail(error: GatewayError): void
  /** All that a push or an answer gave was written. */
  settled?(): void
}

export class OpenRun {
  readonly #transform: Transform
  readonly #out: Asking
  readonly #sink: OpenSink
  readonly #served = new ServedOctets()
  #over = false
  #pending = 0

  constructor(transform: Transform, out: Asking, sink: OpenSink) {
    this.#transform = transform
    this.#out = out
    this.#sink = sink
  }

  get wants(): boolean {
    return this.#over || this.#transform.wants
  }

  /** Questions are open: more will be written without more being pushed. */
  get busy(): boolean {
    return this.#pending > 0
  }

  /** What was pushed is wanted now, though it were little. */
  hasten(): void {
    this.#run(() => this.#transform.hasten?.() ?? [])
  }

  /** The buffer is given away. */
  push(bytes: Buffer): void {
    if (bytes.length > 0) this.#run(() => this.#transform.push(bytes))
  }

  end(): void {
    this.#run(() => this.#transform.end())
  }

  /** Nobody waits for the result any more. */
  drop(): void {
    this.#over = true
  }

  #run(step: () => TransformAction[]): void {
    if (this.#over) return
    try {
      for (const action of step()) if (!this.#over) this.#perform(action)
      this.#sink.settled?.()
    } catch (error) {
      if (this.#over) throw error
      this.#fail(asGatewayError(error))
    }
  }

  #perform(action: TransformAction): void {
    switch (action.do) {
      case 'write':
        for (const bytes of this.#served.push(action.bytes)) this.#sink.write(bytes)
        break
      case 'ask': {
        this.#pending++
        const answered = (answer: unknown): void => {
          this.#pending--
          this.#run(() => this.#transform.answer(action.id, answer))
        }
        const refused = (error: GatewayError): void => {
          this.#pending--
          this.#fail(error)
        }
        if (action.kind === 'open-key') this.#out.ask('open-key', action.ask, answered, refused)
        else if (action.kind === 'batch') this.#out.ask('batch', action.ask, answered, refused)
        else throw new GatewayError('INTERNAL', { question: action.kind })
        break
      }
      case 'done':
        for (const bytes of this.#served.end()) this.#sink.write(bytes)
        this.#over = true
        this.#sink.done()
    }
  }

  #fail(error: GatewayError): void {
    if (this.#over) return
    this.#over = true
    this.#sink.fail(error)
  }
}
