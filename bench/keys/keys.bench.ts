/**
 * The key repository and its client (commands.md, bench keys): a repository in a process of its own on a real, durable
 * store, and the client as a worker has it, both on this machine. Each figure is the median of rounds taken in turns.
 */
import { median, quantile, type Row } from '../rows.ts'
import { fill } from './fill.ts'
import { type Ground, layGround, OPERATIONS, type Operation } from './operations.ts'
import { sendSplit } from './send-split.ts'
import { serveStores } from './stores.ts'

const ROUNDS = 3
/** Long enough for a few hundred operations of the slowest kind. */
const ROUND_MS = 1200

interface Measured {
  readonly perSecond: number[]
  readonly latenciesMs: number[]
}

export async function rows(): Promise<Row[]> {
  const stores = await serveStores()
  const grounds: Ground[] = []
  try {
    for (const served of stores) {
      grounds.push(await layGround(served, 'ML-KEM-768'))
      if (served.full) await fill(served.store, served.database)
      else grounds.push(await layGround(served, 'P-521'))
    }
    const measured = new Map<string, Measured>()
    for (let round = -1; round < ROUNDS; round++) {
      for (const operation of OPERATIONS) {
        for (const ground of grounds) {
          if (ground.served.full && !operation.alsoFull) continue
          const one = await measure(operation, ground)
          if (round < 0) continue
          const name = nameOf(operation, ground)
          const all = measured.get(name) ?? { perSecond: [], latenciesMs: [] }
          all.perSecond.push(one.perSecond)
          all.latenciesMs.push(...one.latenciesMs)
          measured.set(name, all)
        }
      }
    }
    const split = await sendSplit(grounds.filter(({ served }) => served.store === 'sqlite' && !served.full))
    return [...[...measured].map(([name, all]) => rowOf(name, all, measured.get(name.replace('-full', '')))), ...split]
  } finally {
    for (const ground of grounds) await ground.close()
    for (const served of stores) await served.close()
  }
}

async function measure(
  operation: Operation,
  ground: Ground,
): Promise<{ readonly perSecond: number; readonly latenciesMs: number[] }> {
  const latenciesMs: number[] = []
  const begin = performance.now()
  const end = begin + ROUND_MS
  const loop = async (): Promise<void> => {
    for (let now = performance.now(); now < end; ) {
      await operation.run(ground)
      const after = performance.now()
      latenciesMs.push(after - now)
      now = after
    }
  }
  await Promise.all(Array.from({ length: operation.atOnce }, loop))
  return { perSecond: (latenciesMs.length * 1000) / (performance.now() - begin), latenciesMs }
}

function nameOf(operation: Operation, { served, kind }: Ground): string {
  return `${operation.name}${served.full ? '-full' : ''}-${served.store}${kind === 'P-521' ? '-p521' : ''}`
}

function rowOf(name: string, all: Measured, empty: Measured | undefined): Row {
  const p50 = quantile(all.latenciesMs, 0.5)
  const p99 = quantile(all.latenciesMs, 0.99)
  const row = { bench: 'keys', name, value: median(all.perSecond), unit: '1/s', p50, p99 }
  if (empty === undefined || empty === all) return row
  const direct = median(empty.perSecond)
  return { ...row, direct, ratio: row.value / direct, note: '100,000 accounts, a million items; direct: none' }
}
