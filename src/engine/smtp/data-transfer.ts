/**
 * The octets of one message from the client's 354 to its final dot: dots out, sealed or not, dots in, to the provider
 * (smtp.md §4). Streamed: it holds what the transform holds and nothing more.
 *
 * When sealing fails, nothing more goes to the provider from that very moment, and the client's octets are read to
 * their end and dropped: read as commands they would be a second message's chance.
 */
import { isAscii } from 'node:buffer'
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Transform, TransformAction, TransformAsk } from '../transform.ts'
import { DotDecoder } from './dot-decoder.ts'
import { DotEncoder } from './dot-encoder.ts'

export interface DataTransferOptions {
  /** Seals; null: the message passes unchanged. */
  readonly transform: Transform | null
  /** Goes in front of the client's message. */
  readonly head: Buffer
  /** Refuse a sealed message that has 8-bit octets all the same (preambles, plain headers). */
  readonly sevenBit: boolean
  /** Of the client's octets; null = none. */
  readonly maxOctets: number | null
  readonly send: (bytes: Buffer) => void
  /** The same without dots, before it is sent. */
  readonly copy: (bytes: Buffer) => void
  /** Ask and bring the answer to {@link DataTransfer.answer}; a refusal to {@link DataTransfer.fail}. */
  readonly ask: (ask: TransformAsk) => void
  /** Once, at once: nothing more goes to the provider, and what went must not become a message. */
  readonly broken: (error: GatewayError) => void
  /** Once: the client's final dot is read, and the message is with the provider whole (or broken). */
  readonly ended: () => void
}

type State = 'flowing' | 'broken' | 'over'

export class DataTransfer {
  readonly #options: DataTransferOptions
  readonly #decoder = new DotDecoder()
  readonly #encoder = new DotEncoder()
  #state: State = 'flowing'
  #head: Buffer | null
  #fromClient = 0
  #toProvider = 0
  /** Read so far; all that decides is whether there is any. */
  #eightBit = false

  constructor(options: DataTransferOptions) {
    this.#options = options
    this.#head = options.head
  }

  /** Octets of the message as the client wrote it, and as it goes to the provider. */
  get octets(): { readonly fromClient: number; readonly toProvider: number } {
    return { fromClient: this.#fromClient, toProvider: this.#toProvider }
  }

  /** The client's final dot has not been read yet. */
  get readsOn(): boolean {
    return !this.#decoder.ended
  }

  get wants(): boolean {
    return this.#state !== 'flowing' || (this.#options.transform?.wants ?? true)
  }

  /** The buffer is taken over. @returns what stands behind the final dot; null before it */
  push(bytes: Buffer): Buffer | null {
    const { pieces, rest } = this.#decoder.push(bytes)
    if (this.#head !== null) {
      this.#input([this.#head])
      this.#head = null
    }
    for (const piece of pieces) this.#fromClient += piece.length
    const { maxOctets } = this.#options
    if (maxOctets !== null && this.#fromClient > maxOctets) this.fail(new GatewayError('MESSAGE_TOO_LARGE'))
    this.#input(pieces)
    if (rest !== null) this.#end()
    return rest
  }

  answer(id: number, answer: unknown): void {
    const { transform } = this.#options
    if (transform !== null) this.#guarded(() => this.#perform(transform.answer(id, answer)))
  }

  fail(error: GatewayError): void {
    if (this.#state !== 'flowing') return
    this.#state = 'broken'
    this.#options.broken(error)
    if (this.#decoder.ended) this.#over()
  }

  #input(pieces: readonly Buffer[]): void {
    const { transform } = this.#options
    for (const piece of pieces) {
      if (transform === null) this.#output(piece)
      else this.#guarded(() => this.#perform(transform.push(piece)))
    }
  }

  #end(): void {
    if (this.#state === 'broken') {
      this.#over()
      return
    }
    // Broken by the octets just read: there is no dot to send.
    if (this.#state !== 'flowing') return
    const { transform } = this.#options
    if (transform === null) this.#complete()
    else this.#guarded(() => this.#perform(transform.end()))
  }

  #guarded(run: () => void): void {
    if (this.#state !== 'flowing') return
    try {
      run()
    } catch (error) {
      this.fail(asGatewayError(error))
    }
  }

  #perform(actions: readonly TransformAction[]): void {
    for (const action of actions) {
      // An answer that came at once may have broken it.
      if (this.#state !== 'flowing') return
      if (action.do === 'write') this.#output(action.bytes)
      else if (action.do === 'ask') this.#options.ask(action)
      else this.#complete()
    }
  }

  #output(bytes: Buffer): void {
    if (this.#state !== 'flowing') return
    if (this.#options.sevenBit && !this.#eightBit) this.#eightBit = !isAscii(bytes)
    this.#options.copy(bytes)
    for (const piece of this.#encoder.push(bytes)) {
      this.#toProvider += piece.length
      this.#options.send(piece)
    }
  }

  #complete(): void {
    // A transform that is done before its input is has lost something.
    if (!this.#decoder.ended) throw new GatewayError('INTERNAL', { reason: 'message ended early' })
    if (this.#eightBit) {
      this.fail(new GatewayError('EIGHT_BIT_UNSUPPORTED'))
      return
    }
    for (const piece of this.#encoder.end()) this.#options.send(piece)
    this.#over()
  }

  #over(): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#options.ended()
  }
}
