import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import { joinShares, splitVeskey } from '../../../src/ves/client/recovery.ts'

const veskey = new Secret(Buffer.from('a recovery key of 32 characters!'))
const incorrect = (error: unknown) => error instanceof GatewayError && error.code === 'VES_INCORRECT'

describe('recovery by friends', () => {
  test('any n of m give the VESkey back, in any order', async () => {
    const shares = await splitVeskey(veskey, 5, 3)
    assert.equal(shares.length, 5)
    for (const which of [
      [0, 1, 2],
      [4, 2, 0],
      [1, 3, 4],
      [0, 1, 2, 3, 4],
    ]) {
      const some = which.map((at) => shares[at]!)
      assert.deepEqual((await joinShares(some, 3)).expose(), veskey.expose())
    }
  })

  test('fewer give nothing, and not a wrong one', async () => {
    const shares = await splitVeskey(veskey, 5, 3)
    await assert.rejects(joinShares(shares.slice(0, 2), 3), incorrect)
    // What the plan says is not to be believed either.
    await assert.rejects(joinShares(shares.slice(0, 2), 2), incorrect)
    await assert.rejects(joinShares([shares[0]!, shares[0]!, shares[0]!], 3), incorrect)
    await assert.rejects(joinShares([], 2), incorrect)
  })

  test('wrong shares among enough right ones do not matter', async () => {
    const shares = await splitVeskey(veskey, 5, 3)
    const other = await splitVeskey(new Secret(Buffer.from('another VESkey, of a former plan')), 5, 3)
    const altered = Buffer.from(shares[1]!)
    altered[20]! ^= 1
    const given = [altered, other[0]!, Buffer.from('x'), Buffer.alloc(0), shares[2]!, shares[3]!, shares[4]!]
    assert.deepEqual((await joinShares(given, 3)).expose(), veskey.expose())
    await assert.rejects(joinShares([altered, other[0]!, shares[2]!, shares[3]!], 3), incorrect)
  })

  test('senseless plans are refused', async () => {
    for (const [friends, threshold] of [
      [1, 1],
      [3, 1],
      [2, 3],
      [33, 2],
    ] as const) {
      await assert.rejects(
        splitVeskey(veskey, friends, threshold),
        (error: GatewayError) => error.code === 'VES_PARAMETER',
      )
    }
  })
})
