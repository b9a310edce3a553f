/**
 * The module that a pool thread loads: one function, called once a task. It does no I/O and leaves nothing running.
 */
import { move, transferableSymbol, valueSymbol, workerData } from 'piscina'
import { copyOf } from '../../engine/seal/chunk-cipher.ts'
import { javascriptPath, useFastPath } from '../../engine/seal/native.ts'
import { answerTask, type ThreadAnswer, type ThreadTask } from './task.ts'

export interface ThreadData {
  /** Do as the worker does: JavaScript, even where the addon would load. */
  readonly javascript: boolean
}

if ((workerData as ThreadData).javascript) useFastPath(javascriptPath('the worker has none'))

export function run(task: ThreadTask): unknown {
  const answer = answerTask(task)
  if (!answer.ok || !('output' in answer.result)) return answer
  const output = movable(answer.result.output)
  // The input came with memory of its own, and goes back with it.
  const moved: ThreadAnswer = { ok: true, result: { ...answer.result, output } }
  const buffers = [output.buffer, answer.result.spent.buffer]
  return move({
    get [transferableSymbol]() {
      return buffers
    },
    get [valueSymbol]() {
      return moved
    },
  })
}

/**
 * Moving a view moves the memory behind it: a small output lies in Node's shared pool, which must stay; one much
 * smaller than what was set aside for it would hold the rest for as long as it lives.
 */
function movable(output: Uint8Array): Uint8Array {
  const isMostOfIt = output.byteLength * 2 >= output.buffer.byteLength
  return isMostOfIt && output.byteLength >= Buffer.poolSize ? output : copyOf(output)
}
