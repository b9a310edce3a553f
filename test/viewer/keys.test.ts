/** Keys of the browser against those of the gateway: what one makes and seals, the other opens. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { GatewayError } from '../../src/base/errors.ts'
import { inlineKeyOperations } from '../../src/engine/seal/key-job.ts'
import type { KeyKind } from '../../src/engine/seal/vault-key.ts'
import { encryptPrivateKey } from '../../src/engine/seal/vault-key-pbes2.ts'
import { WebKeyOperations } from '../../src/viewer/keys.ts'
import { createPublicKey } from '../../src/viewer/stand-in/crypto.ts'

const veskey = Buffer.from('a VESkey of the test')
const browser = new WebKeyOperations()
const gateway = inlineKeyOperations
const values = [Buffer.from('44 octets that are a key and iv: 0123456789!'), Buffer.alloc(1500, 7), Buffer.alloc(0)]
const code = (wanted: string) => (error: unknown) => error instanceof GatewayError && error.code === wanted

for (const kind of ['P-256', 'P-384', 'P-521', 'ML-KEM-512', 'ML-KEM-768', 'ML-KEM-1024', 'RSA'] as KeyKind[]) {
  test(`${kind}: sealed here and opened there, both ways`, async () => {
    for (const [maker, other] of [
      [gateway, browser],
      [browser, gateway],
    ] as const) {
      if (kind === 'RSA' && maker === browser) continue
      const made = await maker.run('make', { kind, veskey, rounds: null })
      for (const value of values) {
        const { sealed: byOther } = await other.run('seal', { keys: [made.publicKey], value })
        const { sealed: byMaker } = await maker.run('seal', { keys: [made.publicKey], value })
        for (const opener of [gateway, browser]) {
          const sealed = [...byOther, ...byMaker]
          const { key, values: opened } = await opener.run('unlock', { privateKey: made.privateKey, veskey, sealed })
          for (const one of opened) assert.deepEqual(Buffer.from(one), value)
          const again = await opener.run('open', { key, sealed })
          assert.equal(again.values.length, 2)
          const altered = Uint8Array.from(byMaker[0]!)
          altered[altered.length - 1]! ^= 1
          await assert.rejects(opener.run('open', { key, sealed: [altered] }), code('VES_CRYPTO'))
          await assert.rejects(opener.run('open', { key, sealed: [altered.subarray(0, 20)] }), code('VES_CRYPTO'))
        }
      }
      const wrong = { privateKey: made.privateKey, veskey: Buffer.from('another'), sealed: [] }
      await assert.rejects(other.run('unlock', wrong), code('VES_UNLOCK'))
    }
  })
}

test('a temp key’s values are sealed anew; what does not open stays null', async () => {
  const [temp, own] = await Promise.all(
    ['ML-KEM-768', 'P-521'].map((kind) => gateway.run('make', { kind: kind as KeyKind, veskey, rounds: null })),
  )
  const value = Buffer.from('a message key')
  const { sealed } = await gateway.run('seal', { keys: [temp!.publicKey], value })
  const { key: from } = await browser.run('unlock', { privateKey: temp!.privateKey, veskey, sealed: [] })
  const to = await browser.run('read', { publicKey: own!.publicKey })
  const anew = await browser.run('reseal', { from, to, sealed: [...sealed, Buffer.alloc(1300)] })
  assert.equal(anew.sealed[1], null)
  const opened = await gateway.run('unlock', { privateKey: own!.privateKey, veskey, sealed: [anew.sealed[0]!] })
  assert.deepEqual(Buffer.from(opened.values[0]!), value)
})

test('private keys of ML-KEM as seed, expanded, and both', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ml-kem-768')
  const both = privateKey.export({ type: 'pkcs8', format: 'der' })
  const spki = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const { sealed } = await gateway.run('seal', { keys: [spki], value: values[0]! })
  // OpenSSL's "both" is a sequence of 64 octets of seed and 2400 expanded, at the very end.
  const expanded = both.subarray(both.length - 2400)
  const seed = both.subarray(both.length - 2400 - 4 - 64, both.length - 2400 - 4)
  const head = Buffer.from('020100300b0609608648016503040402', 'hex')
  const wrap = (tag: number[], content: Buffer) => Buffer.concat([Buffer.from(tag), content])
  const forms = [
    both,
    wrap([0x30, 0x54], Buffer.concat([head, wrap([0x04, 0x42], wrap([0x80, 0x40], seed))])),
    wrap(
      [0x30, 0x82, 0x09, 0x78],
      Buffer.concat([head, wrap([0x04, 0x82, 0x09, 0x64], wrap([0x04, 0x82, 0x09, 0x60], expanded))]),
    ),
  ]
  for (const form of forms) {
    const pem = encryptPrivateKey(form, veskey)
    for (const opener of [gateway, browser]) {
      const { values: opened } = await opener.run('unlock', { privateKey: pem, veskey, sealed })
      assert.deepEqual(Buffer.from(opened[0]!), values[0])
    }
  }
})

test('keys and values of the C library', async () => {
  const file = new URL('../vectors/vault-keys.json', import.meta.url)
  const { keys, items } = JSON.parse(readFileSync(file, 'utf8')) as {
    keys: { id: number; veskey: string; privateKey: string }[]
    items: { value: string; entries: { vaultKey: number; encData: string }[] }[]
  }
  let opened = 0
  for (const { id, veskey: text, privateKey } of keys) {
    const mine = items.flatMap(({ value, entries }) =>
      entries.filter(({ vaultKey }) => vaultKey === id).map(({ encData }) => ({ value, encData })),
    )
    const sealed = mine.map(({ encData }) => Buffer.from(encData, 'base64'))
    const { values } = await browser.run('unlock', { privateKey, veskey: Buffer.from(text), sealed })
    for (const [i, { value }] of mine.entries()) assert.equal(Buffer.from(values[i]!).toString('hex'), value)
    opened += mine.length
  }
  assert.ok(opened > 0)
})

test('an unknown algorithm is named', async () => {
  const { publicKey } = generateKeyPairSync('x25519')
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  await assert.rejects(browser.run('read', { publicKey: pem }), (error: unknown) => {
    assert.ok(error instanceof GatewayError && error.code === 'VES_UNSUPPORTED')
    assert.match(String(error.detail.text), /1\.3\.101\.110/)
    return true
  })
})

test('a session knows what its key can do, and takes its public half, as with the keys of Node', async () => {
  for (const kind of ['P-256', 'ML-KEM-768'] as const) {
    const made = await gateway.run('make', { kind, veskey, rounds: null })
    const { key } = await browser.run('unlock', { privateKey: made.privateKey, veskey, sealed: [] })
    const there = await gateway.run('unlock', { privateKey: made.privateKey, veskey, sealed: [] })
    assert.equal(key.key.type, there.key.key.type)
    const half = createPublicKey(key.key)
    assert.equal(half.type, 'public')
    const sealed = (await browser.run('seal', { keys: [{ ...key, key: half as never }], value: veskey })).sealed
    assert.deepEqual(Buffer.from((await gateway.run('open', { key: there.key, sealed })).values[0]!), veskey)
    assert.equal((await browser.run('read', { publicKey: made.publicKey })).key.type, 'public')
  }
})
