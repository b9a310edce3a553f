/** What is told of mail that was sealed before there were digests and lists of leaves: its sizes are all there is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Arrival, NOTHING_CHANGED, type Seen } from '../../../src/engine/seal/arrival.ts'
import { type ListedPart, NOTHING_SPECIAL, type PartSizes } from '../../../src/engine/seal/exactness.ts'
import type { LedgerEntry } from '../../../src/engine/seal/sizes-ledger.ts'
import { KEY } from './through.ts'

const BODY: PartSizes = { octets: 100, lines: 10, sealedOctets: 300 }
const part = (octets: number, sealedOctets: number): ListedPart => ({ kind: 'leaf', octets, lines: 1, sealedOctets })

/** A message whose header declares these sizes. */
function arrivalOf(parts: readonly ListedPart[] | null): Arrival {
  const exact = { ...NOTHING_SPECIAL, sizes: { body: BODY, parts } }
  const root = { bytes: Buffer.alloc(0), counted: [], exact, exactness: null, part: '', type: null, sealedLeaf: false }
  return new Arrival({ ...root, encoding: { kind: 'none' } }, { key: KEY, keyAndSeed: KEY.keyString })
}

const leafOf = (octets: number): LedgerEntry => ({ kind: 'leaf', octets, lines: 1, sealedOctets: 40 })
const seen = (body: Partial<PartSizes>, layoutLost = 0): Seen => ({
  record: undefined,
  ended: true,
  sizes: { body: { ...BODY, ...body }, parts: null },
  layoutLost,
})

test('a listed place without sealed octets is no part: it is not missed, and nothing stands for it', () => {
  const parts = [part(0, 0), part(7, 40), part(0, 0)]
  const arrival = arrivalOf(parts)
  arrival.sealedLeaf(leafOf(7))
  assert.deepEqual(arrival.finish(seen({})), NOTHING_CHANGED)
  assert.equal(arrivalOf(parts).finish(seen({})).missingParts, 1)
  const other = arrivalOf(parts)
  other.sealedLeaf(leafOf(0))
  assert.throws(
    () => other.finish(seen({})),
    (error) => error instanceof GatewayError && error.code === 'SEAL_BROKEN',
  )
})

test('another size is an alteration, unless a part came in another layout, which has another size', () => {
  for (const body of [{ octets: 89 }, { octets: 111 }, { lines: 9 }, { lines: 11 }]) {
    assert.deepEqual(arrivalOf(null).finish(seen(body)), { ...NOTHING_CHANGED, altered: true })
    assert.deepEqual(arrivalOf(null).finish(seen(body, 1)), NOTHING_CHANGED)
  }
  for (const octets of [91, 100, 110])
    assert.deepEqual(arrivalOf(null).finish(seen({ octets })), NOTHING_CHANGED, `${octets}`)
})
