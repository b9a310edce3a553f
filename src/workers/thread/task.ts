/**
 * What a worker asks of a thread, and what comes back: data only, since a structured clone is all that crosses.
 * The same function runs a task in place, where there is no thread or it would not pay.
 */
import { asGatewayError, type Detail, type FaultCode, GatewayError } from '../../base/errors.ts'
import { type BatchJob, type BatchResult, runBatch } from '../../engine/seal/batch.ts'
import { type KeyJob, type KeyJobKind, type KeyResult, runKeyJob } from '../../engine/seal/key-job.ts'

export type ThreadTask = BatchJob | KeyJob
export type ThreadResult = BatchResult | KeyResult<KeyJobKind>

/** An Error would lose its class and code on the way. */
export type ThreadAnswer =
  | { readonly ok: true; readonly result: ThreadResult }
  | { readonly ok: false; readonly code: FaultCode; readonly detail: Detail; readonly cause: string | null }

export function isBatch(task: ThreadTask): task is BatchJob {
  return task.kind === 'seal-body' || task.kind === 'open-body'
}

/** @throws GatewayError and, for a bug, anything else */
export function runTask(task: ThreadTask): ThreadResult {
  return isBatch(task) ? runBatch(task) : runKeyJob(task)
}

export function answerTask(task: ThreadTask): ThreadAnswer {
  try {
    return { ok: true, result: runTask(task) }
  } catch (thrown) {
    const { code, detail, cause } = asGatewayError(thrown)
    // The stack of a bug, for the log: it names code, not data.
    return { ok: false, code, detail, cause: cause instanceof Error ? (cause.stack ?? cause.name) : null }
  }
}

/** @throws GatewayError what the thread threw */
export function resultOf(answer: ThreadAnswer): ThreadResult {
  if (answer.ok) return answer.result
  throw new GatewayError(answer.code, answer.detail, answer.cause ?? undefined)
}
