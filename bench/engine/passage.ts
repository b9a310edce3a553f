/** A message through the real Sealer or Opener, as a driver carries it: pushes of a socket read's size, questions answered. */
import { randomBytes } from 'node:crypto'
import { type BatchJob, type BatchResult, runBatch } from '../../src/engine/seal/batch.ts'
import type { MessageKey } from '../../src/engine/seal/message-key.ts'
import { Opener } from '../../src/engine/seal/opener.ts'
import { publicRandom } from '../../src/engine/seal/random.ts'
import { Sealer } from '../../src/engine/seal/sealer.ts'
import type { Transform, TransformAction } from '../../src/engine/transform.ts'
import type { ThreadPool } from '../../src/workers/pool.ts'

/** What node reads from a socket at once. */
const READ_OCTETS = 64 * 1024

export const benchKey: MessageKey = { algo: 'AES256GCM1K', keyString: randomBytes(44) }
const MAXBUF_OCTETS = 1 << 20

export function newSealer(): Transform {
  return new Sealer({
    random: publicRandom,
    idBase: '.VESmail@bench.example',
    settings: { subject: '<VESmail encrypted message>', banners: [], viewerUrl: null, maxbufOctets: MAXBUF_OCTETS },
    totalOctets: null,
    addedIdStays: false,
  })
}

export function newOpener(): Transform {
  return new Opener({ maxbufOctets: MAXBUF_OCTETS })
}

/** The key is there at once; a batch runs in place. */
function answerNow(action: Extract<TransformAction, { do: 'ask' }>): unknown {
  if (action.kind === 'batch') return runBatch(action.ask)
  return { key: benchKey, uri: 'ves://vesmail/bench', xchg: null, verify: null }
}

/** @param sink gets each piece of the output */
export function passInPlace(transform: Transform, input: Iterable<Buffer>, sink: (bytes: Buffer) => void): void {
  const carry = (actions: TransformAction[]) => {
    const asked: Extract<TransformAction, { do: 'ask' }>[] = []
    for (const action of actions) {
      if (action.do === 'write') sink(action.bytes)
      else if (action.do === 'ask') asked.push(action)
    }
    // What an answer lets out comes after what was written already.
    for (const action of asked) carry(transform.answer(action.id, answerNow(action)))
  }
  for (const piece of input) carry(transform.push(piece))
  carry(transform.end())
}

/** The same with a pool: the input waits while the transform has enough. */
export async function passThroughPool(
  transform: Transform,
  input: Iterable<Buffer>,
  sink: (bytes: Buffer) => void,
  pool: ThreadPool,
): Promise<void> {
  const open = new Set<Promise<void>>()
  const carry = (actions: TransformAction[]) => {
    const asked: Extract<TransformAction, { do: 'ask' }>[] = []
    for (const action of actions) {
      if (action.do === 'write') sink(action.bytes)
      else if (action.do === 'ask' && action.kind === 'batch') ask(action.id, action.ask)
      else if (action.do === 'ask') asked.push(action)
    }
    for (const action of asked) carry(transform.answer(action.id, answerNow(action)))
  }
  const ask = (id: number, job: BatchJob) => {
    const asked = pool.batch(job).then((result: BatchResult) => {
      open.delete(asked)
      carry(transform.answer(id, result))
    })
    open.add(asked)
  }
  for (const piece of input) {
    while (!transform.wants) await Promise.race(open)
    carry(transform.push(piece))
  }
  carry(transform.end())
  while (open.size > 0) await Promise.race(open)
}

/** Views of a message as reads of a socket would bring it. */
export function* reads(message: Buffer): Generator<Buffer> {
  for (let at = 0; at < message.length; at += READ_OCTETS) yield message.subarray(at, at + READ_OCTETS)
}

export function collected(pass: (sink: (bytes: Buffer) => void) => void): Buffer {
  const pieces: Buffer[] = []
  pass((bytes) => pieces.push(bytes))
  return Buffer.concat(pieces)
}
