/**
 * The unit of work that may go to a thread: some octets of one leaf's body and the state to go on from
 * (architecture.md: batches of 64 KiB to 1 MiB, never whole sessions). `runBatch` is a pure function, the same inline
 * and in a pool thread (`workers/thread`).
 *
 * Sealing: octets in their transfer encoding → decoded → AES256GCM1K stream → base64 lines of 76 + CRLF.
 * Opening: base64 → stream opened → octets in the original transfer encoding. Batches of one leaf chain: the state
 * of a result starts the next; batches of different leaves are independent. How a body is cut into batches does not
 * show in the output.
 */
import { type OpenState, openBatch, startOpenState } from './batch-open.ts'
import { type SealState, sealBatch, startSealState } from './batch-seal.ts'
import type { BodyEncoding } from './body-encoding.ts'
import type { BodyWatch } from './body-watch.ts'
import type { MessageKey } from './message-key.ts'

/** The transfer encoding that sealing undoes; all but base64 and quoted-printable are `none` (message-format.md §4). */
export type BodyDecoding = 'none' | 'base64' | 'quoted-printable'

/** Everything a leaf's next batch needs; structured-cloneable, a few KiB. Holds key octets: never logged. */
export type BodyState = SealState | OpenState

/** A job; `input` may be transferred, so whoever made it must not touch it again. */
export interface BatchJob {
  readonly kind: 'seal-body' | 'open-body'
  readonly state: BodyState
  readonly input: Uint8Array
  /** The body ends with this batch: flush. */
  readonly last: boolean
}

export interface BatchResult {
  /** A view into a buffer of its own unless it is small; the receiver's. */
  readonly output: Uint8Array
  /** For the next batch of this leaf; after the last one, what was watched is in it. */
  readonly state: BodyState
  /** LF octets in the opened text: of the input when sealing, of the output when opening. */
  readonly lines: number
  /** The job's input, done with: memory for the next one's. */
  readonly spent: Uint8Array
}

/**
 * @param key must be AES256GCM1K: nothing else seals new mail
 * @param fb0 16 random octets, never used twice. Copied.
 * @param watch of what is too long to be examined beforehand
 */
export function startSeal(
  key: MessageKey,
  decoding: BodyDecoding,
  fb0: Uint8Array,
  watch: BodyWatch | null = null,
): BodyState {
  return startSealState(key, decoding, fb0, watch)
}

/** @param key of any algorithm: older mail has AES256CFB */
export function startOpen(key: MessageKey, encoding: BodyEncoding): BodyState {
  return startOpenState(key, encoding)
}

/**
 * Linear in the input. The state given is left as it was.
 * @throws GatewayError SEAL_BROKEN when authentication fails or the stream is cut short. Nothing of that batch leaves.
 */
export function runBatch(job: BatchJob): BatchResult {
  const { state, input, last } = job
  const done = state.kind === 'seal' ? sealBatch(state, input, last) : openBatch(state, input, last)
  return { ...done, spent: input }
}
