/**
 * Seals one message (message-format.md §4, §6): octets in, octets out, whatever it is given.
 *
 * The story: the root's header block is read, its key asked for. A message within `maxbuf` is gathered whole, so that
 * its sizes are known when its header is written; a longer one goes through as it comes. Then the reader's events
 * turn into output: headers are sealed here, leaves' bodies go through batches, structure passes in plain.
 *
 * The result depends on the octets, the answer and the random source alone, not on how the octets were cut.
 *
 * Rule: nothing of a message leaves before its key is there, and what fails throws; there is no way past.
 */
import { mailboxes } from '../mime/addresses.ts'
import type { HeaderBlock } from '../mime/header-block.ts'
import { MAX_HEADER_OCTETS } from '../mime/limits.ts'
import { OddLineEnds } from '../mime/lines.ts'
import { MimeReader } from '../mime/reader.ts'
import type { Transform, TransformAction } from '../transform.ts'
import type { SealedSizes } from './exactness.ts'
import type { SealKeyAnswer } from './message-key.ts'
import { identify, type MessageIdentity } from './seal-headers.ts'
import { Sealing, type SealingOptions } from './sealing.ts'
import { SizesLedger } from './sizes-ledger.ts'
import { TransformAsking } from './transform-asking.ts'

export interface SealerOptions extends SealingOptions {
  /** What a made message id ends with: `.VESmail@` + host name. */
  readonly idBase: string
  /** SMTP: a Message-ID that sealing adds stays in the opened message, as a submission server's would. */
  readonly addedIdStays: boolean
}

/** What is known of a message that was sealed. Sizes are whole only when it is done. */
export interface SealFacts {
  readonly messageId: string
  /** The message had no Message-ID, and got one that stays. */
  readonly addedMessageId: boolean
  readonly uri: string | null
  readonly sizes: SealedSizes
}

/** Output that waits for threads before the input is asked to stop, beyond the buffer limit. */
const MAX_HELD_OCTETS = 2 << 20

interface Root {
  readonly block: HeaderBlock
  readonly identity: MessageIdentity
  /** Sealing adds a Message-ID that stays. */
  readonly addsId: boolean
}

export class Sealer implements Transform {
  readonly #options: SealerOptions
  readonly #reader = new MimeReader(MAX_HEADER_OCTETS)
  readonly #asking = new TransformAsking()
  readonly #oddLineEnds = new OddLineEnds()
  #pushedOctets = 0
  #ended = false
  #root: Root | null = null
  #answer: SealKeyAnswer | null = null
  #sealing: Sealing | null = null
  #done = false

  constructor(options: SealerOptions) {
    this.#options = options
  }

  get facts(): SealFacts {
    return {
      messageId: this.#root?.identity.id ?? '',
      addedMessageId: this.#root?.addsId === true,
      uri: this.#answer?.uri ?? null,
      sizes: this.#sealing?.sizes ?? new SizesLedger().sizes(),
    }
  }

  get wants(): boolean {
    if (this.#sealing !== null) return this.#sealing.heldOctets < MAX_HELD_OCTETS
    return this.#root === null || !this.#isLong
  }

  get #maxbufOctets(): number {
    return this.#options.settings.maxbufOctets
  }

  /** More than is gathered. */
  get #isLong(): boolean {
    return this.#pushedOctets > this.#maxbufOctets
  }

  push(bytes: Buffer): TransformAction[] {
    // As far as a message is gathered, wherever it is cut.
    this.#oddLineEnds.push(bytes.subarray(0, Math.max(0, this.#maxbufOctets - this.#pushedOctets)))
    this.#pushedOctets += bytes.length
    this.#reader.push(bytes)
    return this.#step()
  }

  end(): TransformAction[] {
    this.#ended = true
    this.#reader.end()
    return this.#step()
  }

  answer(id: number, answer: unknown): TransformAction[] {
    this.#asking.settle(id, answer)
    return this.#step()
  }

  #step(): TransformAction[] {
    if (this.#root === null) this.#readRoot()
    if (this.#sealing === null && this.#answer !== null && (this.#ended || this.#isLong)) this.#start()
    if (this.#sealing !== null && !this.#done) {
      for (const bytes of this.#sealing.run()) this.#asking.push({ do: 'write', bytes })
      this.#done = this.#sealing.isDone
      if (this.#done) this.#asking.push({ do: 'done' })
    }
    return this.#asking.takeActions()
  }

  /** Reads the root's header block, and asks for the key. */
  #readRoot(): void {
    const event = this.#reader.next()
    if (event === null) return
    if (event.on !== 'headers') throw new Error('a message begins with its headers')
    const { block } = event
    const { random, idBase, addedIdStays } = this.#options
    const identity = identify(block, () => random(ID_OCTETS).toString('hex') + idBase)
    // A message that had one, though a useless one, gets that one back and no other.
    const had = identity.wrapped || block.fields.some((field) => field.name === 'message-id')
    this.#root = { block, identity, addsId: addedIdStays && !had }
    const recipients = block.fields.filter(({ name }) => name === 'to' || name === 'cc' || name === 'bcc')
    const ask = { messageId: identity.id, headerRecipients: mailboxes(recipients) }
    this.#asking.ask('seal-key', ask, (answer) => {
      this.#answer = answer
    })
  }

  /** Of a gathered message exact; of a long one by its beginning. */
  #hasOddLineEnds(block: HeaderBlock): boolean {
    if (!this.#isLong) return this.#oddLineEnds.foundAtEnd
    if (this.#oddLineEnds.found) return true
    const header = new OddLineEnds()
    header.push(block.bytes)
    return header.found
  }

  #start(): void {
    const { block, identity, addsId } = this.#root!
    this.#sealing = new Sealing({
      options: this.#options,
      reader: this.#reader,
      root: block,
      identity,
      addedIdStays: addsId,
      answer: this.#answer!,
      isGathered: !this.#isLong,
      hasOddLineEnds: this.#hasOddLineEnds(block),
      askBatch: (job, answered) => this.#asking.ask('batch', job, answered),
    })
  }
}

/** Random octets of a made message id. */
const ID_OCTETS = 16
