/** A resting key is the same key, however it was made and whether or not it was collected meanwhile. */
import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import {
  openFromVaultKey,
  publicOf,
  sealToVaultKey,
  unlockPrivateKey,
  type VaultKey,
} from '../../../src/engine/seal/vault-key.ts'
import { makeVaultKey } from '../../../src/engine/seal/vault-key-make.ts'
import { RestingKey } from '../../../src/ves/client/resting-key.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function unlocked(kind: VaultKey['kind']): VaultKey {
  const veskey = Buffer.from('a VESkey')
  return unlockPrivateKey(makeVaultKey(kind, veskey, 1).privateKey, veskey)
}

/** WeakRefs are emptied by a collection after the job that looked at them. */
async function forgotten(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await new Promise((later) => setImmediate(later))
    collect()
  }
}

for (const kind of ['P-256', 'ML-KEM-512', 'ML-KEM-768', 'ML-KEM-1024'] as const) {
  test(`${kind}: what was sealed before opens after the key was collected`, async () => {
    const { resting, sealed } = (() => {
      const key = unlocked(kind)
      return { resting: new RestingKey(key), sealed: sealToVaultKey(publicOf(key), Buffer.from('value')) }
    })()
    for (let round = 0; round < 2; round++) {
      await forgotten()
      assert.equal(openFromVaultKey(resting.get(), sealed).toString(), 'value')
      assert.deepEqual([resting.get().algo, resting.get().kind], [kind === 'P-256' ? 'ECDH' : 'OQS', kind])
    }
  })
}

test('an ML-KEM key is let go while it rests', async () => {
  const { resting, ref } = (() => {
    const key = unlocked('ML-KEM-768')
    return { resting: new RestingKey(key), ref: new WeakRef(key) }
  })()
  await forgotten()
  assert.equal(ref.deref(), undefined)
  assert.equal(resting.get().kind, 'ML-KEM-768')
})

test('a key without its seed stays', async () => {
  const { key } = unlocked('ML-KEM-768')
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  // RFC 9935 §6, expandedKey: the octet string alone. OpenSSL's own form has both: seed 64, then 2400.
  const expanded = pkcs8.subarray(-2400)
  const body = Buffer.concat([Buffer.from('020100300b06096086480165030404020482096404820960', 'hex'), expanded])
  const der = Buffer.concat([Buffer.from('3082', 'hex'), lengthOf(body), body])
  const seedless = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const vaultKey: VaultKey = { algo: 'OQS', kind: 'ML-KEM-768', key: seedless }
  assert.equal(new RestingKey(vaultKey).get(), vaultKey)
})

function lengthOf(body: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(body.length)
  return length
}
