/**
 * `npm run bench -- engine`: messages through the real Sealer and Opener, in place on one thread, with a pool of two,
 * and without the native addon (`-js`); beside each the floor under it (`limit.ts`), measured in the same turns.
 * `-pool` is what a gateway under load does, several messages at once; `-pool-single` one message alone, whose batches can
 * only follow each other.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { fastPath, javascriptPath, useFastPath } from '../../src/engine/seal/native.ts'
import { COLLECTOR_FLAGS, tuneCollector } from '../../src/workers/collector.ts'
import { ThreadPool } from '../../src/workers/pool.ts'
import { inTurns, type Row } from '../rows.ts'
import { hostileRows } from './hostile.ts'
import { limitOpen, limitSeal } from './limit.ts'
import { MESSAGES, type MessageName } from './messages.ts'
import { collected, newOpener, newSealer, passInPlace, passThroughPool, reads } from './passage.ts'
import { worthOfTwoThreads } from './scaling.ts'

const ROUNDS = 5
const THREADS = 2
/** Messages under way at once where there is a pool. */
const AT_ONCE = 4
const SMALL_MESSAGES = 5000
const SINK = () => {}

type Direction = 'seal' | 'open'

/** @param only beginnings of rows' names; none: all */
export async function rows(only: readonly string[]): Promise<Row[]> {
  const isAsked = (name: string) => only.length === 0 || only.some((beginning) => name.startsWith(beginning))
  // As a worker does.
  tuneCollector()
  const native = fastPath()
  const worth = await worthOfTwoThreads()
  const pool = new ThreadPool({ threads: THREADS })
  const out: Row[] = []
  for (const direction of ['seal', 'open'] as const) {
    for (const name of ['text', 'attachment', 'qp', 'small'] as const) {
      if (!isAsked(`${direction}-${name}`)) continue
      out.push(...(await measured(direction, name, pool, worth)))
      useFastPath(native)
    }
  }
  await pool.close()
  if (isAsked('stream')) out.push(streamGrowth('engine'), streamGrowth('worker'))
  if (isAsked('hostile')) out.push(...hostileRows())
  return out
}

async function measured(direction: Direction, name: MessageName, pool: ThreadPool, worth: number): Promise<Row[]> {
  const native = fastPath()
  const { message: plain, body } = MESSAGES[name]()
  const sealed = collected((sink) => passInPlace(newSealer(), reads(plain), sink))
  if (!collected((sink) => passInPlace(newOpener(), reads(sealed), sink)).equals(plain)) {
    throw new Error(`${name}: what was opened is not what was sealed`)
  }
  const input = direction === 'seal' ? plain : sealed
  const transform = direction === 'seal' ? newSealer : newOpener
  const count = name === 'small' ? SMALL_MESSAGES : 1
  const limit = floor(direction, name, body, count)
  const inPlace = () => {
    for (let i = 0; i < count; i++) passInPlace(transform(), reads(input), SINK)
  }
  const parallel = () =>
    Promise.all(Array.from({ length: AT_ONCE }, () => manyThroughPool(transform, input, count, pool)))
  const single = () => manyThroughPool(transform, input, 1, pool)
  const [limitMs, nativeMs, poolMs, singleMs, jsMs] = await inTurns(ROUNDS, limit, inPlace, parallel, single, () => {
    useFastPath(javascriptPath('bench'))
    inPlace()
    useFastPath(native)
  })
  const unit = name === 'small' ? 'messages/s' : 'MB/s'
  const speed = (ms: number, messages: number) =>
    name === 'small' ? (messages / ms) * 1000 : (plain.length * messages) / ms / 1000
  const row = (suffix: string, value: number, note: string): Row => {
    const limitValue = speed(limitMs!, count)
    const bench = 'engine'
    return {
      bench,
      name: `${direction}-${name}${suffix}`,
      value,
      unit,
      limit: limitValue,
      ratio: value / limitValue,
      note,
    }
  }
  const inPlaceSpeed = speed(nativeMs!, count)
  const times = (value: number) => `${(value / inPlaceSpeed).toFixed(2)} × one thread`
  const poolSpeed = speed(poolMs!, count * AT_ONCE)
  const singleSpeed = speed(singleMs!, 1)
  const poolNote = `${THREADS} threads, ${AT_ONCE} messages at once: ${times(poolSpeed)}; two threads of the floor: ${worth.toFixed(2)} ×`
  return [
    row('', inPlaceSpeed, `one thread, ${native.kind}`),
    row('-pool', poolSpeed, name === 'small' ? 'in place: a thread would not pay' : poolNote),
    ...(name === 'small' ? [] : [row('-pool-single', singleSpeed, `one message alone: ${times(singleSpeed)}`)]),
    row('-js', speed(jsMs!, count), 'one thread, without the addon'),
  ]
}

async function manyThroughPool(
  transform: () => ReturnType<typeof newSealer>,
  input: Buffer,
  count: number,
  pool: ThreadPool,
): Promise<void> {
  for (let i = 0; i < count; i++) await passThroughPool(transform(), reads(input), SINK, pool)
}

/** The floor of one run of `count` messages. */
function floor(direction: Direction, name: MessageName, one: Buffer, count: number): () => void {
  const body = count === 1 ? one : Buffer.concat(Array.from({ length: count }, () => one))
  const isBase64 = name === 'attachment'
  if (direction === 'seal') return () => limitSeal(body, isBase64)
  const octets = isBase64 ? Buffer.from(body.toString('latin1'), 'base64') : body
  const text = Buffer.from(octets.toString('base64'), 'latin1')
  return () => limitOpen(text, isBase64)
}

/** In a process of its own, which has not grown yet. @param as under V8's own garbage collector, or a worker's */
function streamGrowth(as: 'engine' | 'worker'): Row {
  const script = fileURLToPath(new URL('./stream-growth.ts', import.meta.url))
  const { stdout, status } = spawnSync(process.execPath, [...(as === 'worker' ? COLLECTOR_FLAGS : []), script, as], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error('stream-growth failed')
  const { growth, speed } = JSON.parse(stdout.toString()) as { growth: number; speed: number }
  const suffix = as === 'worker' ? '-worker' : ''
  const collector = as === 'worker' ? ', collector as in a worker' : ''
  const note = `1 GiB sealed and opened on the fly at ${speed.toFixed(0)} MB/s, compared${collector}; goal: below 64`
  return { bench: 'engine', name: `stream-1g-growth${suffix}`, value: growth, unit: 'MiB', note }
}
