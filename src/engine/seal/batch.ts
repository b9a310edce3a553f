/**
 * The unit of work that may go to a thread: some octets of one leaf's body and the state to go on from
 * (architecture.md: batches of 64 KiB to 1 MiB, never whole sessions). `runBatch` is a pure function, the same inline
 * and in a pool thread (`workers/thread`).
 *
 * Sealing: octets in their transfer encoding → decoded → AES256GCM1K stream → base64 lines of 76 + CRLF.
 * Opening: base64 → stream opened → octets in the original transfer encoding. Batches of one leaf chain: the state
 * of a result starts the next; batches of different leaves are independent.
 */

/** Everything a leaf's next batch needs; structured-cloneable, a few KiB. Holds key octets: never logged. */
export interface BodyState {
  readonly todo: 'defined with the codecs'
}

/** A job; `input` may be transferred, so whoever made it must not touch it again. */
export interface BatchJob {
  readonly kind: 'seal-body' | 'open-body'
  readonly state: BodyState
  readonly input: Uint8Array
  /** The body ends with this batch: flush. */
  readonly last: boolean
}

export interface BatchResult {
  readonly output: Uint8Array
  readonly state: BodyState
}

/** @throws GatewayError SEAL_BROKEN when authentication fails or the stream is cut short */
export function runBatch(_job: BatchJob): BatchResult {
  throw new Error('not built yet')
}
