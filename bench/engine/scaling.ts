/**
 * What a second thread is worth on this machine: the floor (`limit.ts`) on one thread, and on two at once. Two that
 * share a core give less than twice, whatever the program; the pool's rows are to be read beside this.
 */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { median } from '../rows.ts'
import { limitSeal } from './limit.ts'

const OCTETS = 8 << 20
const ROUNDS = 7

if (!isMainThread) {
  const body = Buffer.alloc(OCTETS, 'text')
  parentPort!.on('message', () => {
    const begin = performance.now()
    for (let i = 0; i < 4; i++) limitSeal(body, false)
    parentPort!.postMessage(performance.now() - begin)
  })
}

/** Work done by two threads in the time in which one does 1. */
export async function worthOfTwoThreads(): Promise<number> {
  const workers = [0, 1].map(() => new Worker(new URL(import.meta.url), { execArgv: [] }))
  const run = async (worker: Worker): Promise<number> => {
    worker.postMessage('go')
    return ((await once(worker, 'message')) as [number])[0]
  }
  const [alone, together]: [number[], number[]] = [[], []]
  for (let round = -1; round < ROUNDS; round++) {
    const one = await run(workers[0]!)
    const both = await Promise.all(workers.map(run))
    if (round < 0) continue
    alone.push(one)
    together.push(Math.max(...both))
  }
  await Promise.all(workers.map((worker) => worker.terminate()))
  return (2 * median(alone)) / median(together)
}
