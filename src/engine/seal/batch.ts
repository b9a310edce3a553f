/**
 * The unit of work that may go to a thread: some octets of one part's body and the state to go on from.
 * `runBatch` is a pure function, the same inline and in a pool thread (`workers/thread`).
 */

/** A job; its buffers may be transferred, so whoever made it must not touch them again. */
export interface BatchJob {
  readonly octets: number
}

export interface BatchResult {
  readonly octets: number
}
