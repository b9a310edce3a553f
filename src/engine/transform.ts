/**
 * A message on its way: octets in, actions out, like a session but for one message (`seal/sealer.ts`, `seal/opener.ts`).
 * Whoever holds it passes its questions on and brings the answers back; what it cannot do it throws as a GatewayError,
 * after which it is dead and nothing it wrote since its last complete step may be trusted to be a whole message.
 */
import type { BatchJob, BatchResult } from './seal/batch.ts'
import type { OpenKeyAnswer, OpenKeyAsk, SealKeyAnswer, SealKeyAsk } from './seal/message-key.ts'

export interface TransformQuestions {
  'seal-key': { ask: SealKeyAsk; answer: SealKeyAnswer }
  'open-key': { ask: OpenKeyAsk; answer: OpenKeyAnswer }
  /** Small batches are run in place and never asked. */
  batch: { ask: BatchJob; answer: BatchResult }
}

export type TransformKind = keyof TransformQuestions

export type TransformAsk = {
  [K in TransformKind]: {
    readonly do: 'ask'
    /** Unique within this transform. */
    readonly id: number
    readonly kind: K
    readonly ask: TransformQuestions[K]['ask']
  }
}[TransformKind]

export type TransformAction =
  /** In order; the buffer belongs to the holder from now on. */
  | { readonly do: 'write'; readonly bytes: Buffer }
  | TransformAsk
  /** Once, last: the message is complete. */
  | { readonly do: 'done' }

export interface Transform {
  /** The buffer belongs to the transform from now on. */
  push(bytes: Buffer): TransformAction[]
  /** End of the message. */
  end(): TransformAction[]
  /** Goes on with what was pushed, instead of waiting until there is enough of it to pay. */
  hasten?(): TransformAction[]
  /** Brings the answer of question `id`. A refusal is not brought: the holder drops the transform. */
  answer(id: number, answer: unknown): TransformAction[]
  /** False while enough waits inside (a key, a batch): the holder stops pushing, so that memory stays bounded. */
  readonly wants: boolean
}
