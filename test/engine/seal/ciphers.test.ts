import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { openedStreamOctets, sealedStreamOctets } from '../../../src/engine/seal/chunk-cipher.ts'
import { keyAndIv, openWhole, parseItemValue, sealWhole } from '../../../src/engine/seal/ciphers.ts'
import type { CipherAlgo, MessageKey } from '../../../src/engine/seal/message-key.ts'
import { inForce, onEachPath } from './both-paths.ts'

interface Vector {
  readonly algo: CipherAlgo
  readonly key: string
  readonly length: number
  readonly plaintext: string
  readonly ciphertext: string
}

const vectors = JSON.parse(
  readFileSync(new URL('../../vectors/ciphers.json', import.meta.url), 'utf8'),
) as readonly Vector[]

const keyOf = ({ algo, key }: Vector): MessageKey => ({ algo, keyString: Buffer.from(key, 'hex') })
const isBroken = (error: unknown) => error instanceof GatewayError && error.code === 'SEAL_BROKEN'
const counting = (octets: number) => Buffer.from(Array.from({ length: octets }, (_, i) => (i * 31 + 7) & 255))

onEachPath('ciphers', (path) => {
  it('opens every vector of the C implementation', () => {
    assert.equal(vectors.length, 54)
    for (const vector of vectors) {
      const plain = inForce(path, () => openWhole(keyOf(vector), Buffer.from(vector.ciphertext, 'hex')))
      assert.equal(plain.toString('hex'), vector.plaintext, `${vector.algo} ${vector.length}`)
    }
  })

  it('seals to the octets of every vector', () => {
    for (const vector of vectors) {
      // The vector tells the random octets it was made with.
      const random = (octets: number) => Buffer.from(vector.ciphertext, 'hex').subarray(0, octets)
      const sealed = inForce(path, () => sealWhole(keyOf(vector), Buffer.from(vector.plaintext, 'hex'), random))
      assert.equal(sealed.toString('hex'), vector.ciphertext, `${vector.algo} ${vector.length}`)
    }
  })

  it('seals every length around the chunk limits to the length that the format states', () => {
    const key: MessageKey = { algo: 'AES256GCM1K', keyString: counting(44) }
    for (const length of [0, 1, 1007, 1023, 1024, 1025, 2047, 2048, 2049, 65536, 70000]) {
      const plain = counting(length)
      inForce(path, () => {
        const sealed = sealWhole(key, plain, counting)
        assert.equal(sealed.length, 16 + length + 16 * (Math.floor(length / 1024) + 1))
        assert.equal(sealed.length, sealedStreamOctets(length))
        assert.equal(openedStreamOctets(sealed.length), length)
        assert.deepEqual(openWhole(key, sealed), plain)
      })
    }
  })

  it('refuses a stream with any one octet altered, and any shorter or longer one', () => {
    const key: MessageKey = { algo: 'AES256GCM1K', keyString: counting(44) }
    const sealed = inForce(path, () => sealWhole(key, counting(1100), counting))
    inForce(path, () => {
      for (let at = 0; at < sealed.length; at += 13) {
        const altered = Buffer.from(sealed)
        altered[at]! ^= 1
        assert.throws(() => openWhole(key, altered), isBroken, `altered at ${at}`)
      }
      for (let end = 0; end < sealed.length; end++) {
        assert.throws(() => openWhole(key, sealed.subarray(0, end)), isBroken, `cut at ${end}`)
      }
      assert.throws(() => openWhole(key, Buffer.concat([sealed, counting(1)])), isBroken)
      assert.throws(() => openWhole(key, Buffer.concat([sealed, sealed.subarray(16)])), isBroken)
    })
  })

  it('refuses chunks reordered, repeated or left out', () => {
    const key: MessageKey = { algo: 'AES256GCM1K', keyString: counting(44) }
    const sealed = inForce(path, () => sealWhole(key, counting(3000), counting))
    const [head, a, b, end] = [
      sealed.subarray(0, 16),
      sealed.subarray(16, 1056),
      sealed.subarray(1056, 2096),
      sealed.subarray(2096),
    ]
    for (const pieces of [[b, a, end], [a, a, b, end], [a, end], [b, end], [end], [a, b], [a, b, end, end]]) {
      inForce(path, () => assert.throws(() => openWhole(key, Buffer.concat([head, ...pieces])), isBroken))
    }
  })
})

onEachPath('keys', () => {
  it('takes the last 12 octets as seed where a GCM key string is short', () => {
    const keyString = counting(40)
    const expected = Buffer.concat([keyString.subarray(0, 32), keyString.subarray(28)])
    assert.deepEqual(keyAndIv({ algo: 'AES256GCM1K', keyString }), expected)
    assert.deepEqual(keyAndIv({ algo: 'AES256GCMp', keyString: counting(32) }).subarray(32), counting(32).subarray(20))
  })

  it('refuses a key that is too short', () => {
    for (const algo of ['AES256GCM1K', 'AES256GCMp', 'AES256CFB'] as const) {
      assert.throws(() => keyAndIv({ algo, keyString: counting(31) }), GatewayError)
    }
  })

  it('reads metadata behind the key string', () => {
    const value = Buffer.concat([counting(44), Buffer.from('{"n":"ä","a":[1]}')])
    const { key, meta } = parseItemValue('AES256GCM1K', value)
    assert.deepEqual(key.keyString, counting(44))
    assert.deepEqual(meta, { n: 'ä', a: [1] })
    assert.equal(parseItemValue('AES256CFB', counting(64)).meta, null)
    assert.deepEqual(parseItemValue('NULL', Buffer.from('{"imap":{}}')), {
      key: { algo: 'NULL', keyString: Buffer.alloc(0) },
      meta: { imap: {} },
    })
  })

  it('refuses metadata that is no JSON object, without showing it', () => {
    for (const text of ['{"secret":', '[1]', 'null', '"x"', '7']) {
      const value = Buffer.concat([counting(44), Buffer.from(text)])
      assert.throws(
        () => parseItemValue('AES256GCM1K', value),
        (error: unknown) =>
          error instanceof GatewayError &&
          error.code === 'VES_INCORRECT' &&
          !JSON.stringify(error.detail).includes('secret'),
      )
    }
  })
})

onEachPath('padded values', (path) => {
  it('refuses wrong padding even where it is authentic', async () => {
    const { createCipheriv } = await import('node:crypto')
    const keyString = counting(44)
    for (const padded of [Buffer.alloc(32, 33), Buffer.concat([Buffer.of(3), Buffer.alloc(31, 1)])]) {
      const cipher = createCipheriv('aes-256-gcm', keyString.subarray(0, 32), keyString.subarray(32))
      const sealed = Buffer.concat([cipher.update(padded), cipher.final(), cipher.getAuthTag()])
      inForce(path, () => assert.throws(() => openWhole({ algo: 'AES256GCMp', keyString }, sealed), isBroken))
    }
  })
})
