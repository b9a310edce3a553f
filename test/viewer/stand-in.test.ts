/** What stands in for Node in the browser gives what Node gives. */
import assert from 'node:assert/strict'
import * as node from 'node:crypto'
import { test } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { Buffer as BrowserBuffer } from '../../src/viewer/stand-in/buffer.ts'
import * as browser from '../../src/viewer/stand-in/crypto.ts'
import { inflateRawSync } from '../../src/viewer/stand-in/zlib.ts'

const octets = fc.uint8Array({ maxLength: 300 })
const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.base64String({ maxLength: 80 }))
const encoding = fc.constantFrom('utf8', 'latin1', 'hex', 'base64', 'base64url', 'ascii', 'binary' as const)
const same = (ours: Uint8Array, theirs: Uint8Array) => assert.deepEqual([...ours], [...theirs])

test('Buffer: from and to text in every encoding', () => {
  fc.assert(
    fc.property(text, octets, encoding, fc.nat(40), fc.nat(60), (given, bytes, name, start, end) => {
      const kind = name as 'utf8'
      // Node cuts what is no octet in base64 and hex down to one (U+0137 is a 7); the engine gives octets.
      const string = /^base64|^hex/.test(name) ? given.replace(/[^\0-\x7f]/g, '') : given
      same(BrowserBuffer.from(string, kind), Buffer.from(string, kind))
      const [ours, theirs] = [BrowserBuffer.from(bytes), Buffer.from(bytes)]
      assert.equal(ours.toString(kind), theirs.toString(kind))
      assert.equal(ours.toString(kind, start, end), theirs.toString(kind, start, end))
      assert.equal(BrowserBuffer.byteLength(string), Buffer.byteLength(string))
    }),
  )
})

test('Buffer: views, searches, copies, comparisons, numbers', () => {
  const small = fc.uint8Array({ maxLength: 30, max: 3 })
  fc.assert(
    fc.property(small, fc.uint8Array({ maxLength: 3, max: 3 }), fc.nat(12), fc.nat(30), (bytes, part, from, to) => {
      const [ours, theirs] = [BrowserBuffer.from(bytes), Buffer.from(bytes)]
      assert.ok(BrowserBuffer.isBuffer(ours.subarray(1)) && ours.slice(1).buffer === ours.buffer)
      same(ours.slice(from, to), theirs.subarray(from, to))
      assert.equal(ours.indexOf(part as never, from), theirs.indexOf(part, from))
      assert.equal(ours.indexOf(2, from), theirs.indexOf(2, from))
      assert.equal(ours.includes(2), theirs.includes(2))
      assert.equal(ours.equals(part), theirs.equals(part))
      const end = Math.min(to, bytes.length)
      if (from <= end)
        assert.equal(ours.compare(part, 0, part.length, from, end), theirs.compare(part, 0, part.length, from, end))
      const [a, b] = [BrowserBuffer.alloc(20), Buffer.alloc(20)]
      if (from <= bytes.length) assert.equal(ours.copy(a, 3, from, to), theirs.copy(b, 3, from, to))
      for (const where of [
        ['latin1'],
        [from, 'latin1'],
        [],
        [from],
        [from, Math.min(to, 20 - from), 'latin1'],
      ] as const) {
        const room = where as unknown as ['latin1']
        assert.equal(a.write('Grüße', ...room), b.write('Grüße', ...room))
      }
      same(a, b)
      same(BrowserBuffer.concat([ours, part]), Buffer.concat([theirs, part]))
      if (bytes.length >= 4) {
        assert.equal(ours.readUIntBE(1, 3), theirs.readUIntBE(1, 3))
        ours.writeUInt32BE(0xfedcba98, 0)
        theirs.writeUInt32BE(0xfedcba98, 0)
        assert.equal(ours.readInt8(0), theirs.readInt8(0))
        same(ours, theirs)
      }
    }),
  )
})

test('inflate: what Node deflated, at every level', () => {
  const input = fc.oneof(
    octets,
    fc.string({ maxLength: 4000 }).map((one) => new TextEncoder().encode(one.repeat(3))),
  )
  const options = { level: fc.integer({ min: 0, max: 9 }), strategy: fc.constantFrom(0, 2, 3, 4) }
  fc.assert(
    fc.property(input, fc.record(options), (plain, how) => {
      same(inflateRawSync(deflateRawSync(plain, how), { maxOutputLength: 20_000 }), plain)
    }),
  )
  const large = Buffer.from('the quick brown fox '.repeat(9000))
  same(inflateRawSync(deflateRawSync(large), { maxOutputLength: large.length }), large)
  assert.throws(() => inflateRawSync(deflateRawSync(large), { maxOutputLength: large.length - 1 }), /grows too large/)
})

test('inflate: malformed input is an error, never more than that', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        assert.ok(inflateRawSync(bytes, { maxOutputLength: 5000 }).length <= 5000)
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof TypeError), String(error))
      }
    }),
    { numRuns: 2000 },
  )
  const packed = deflateRawSync(Buffer.from('cut short '.repeat(50)))
  for (let end = 0; end < packed.length; end++) {
    assert.throws(() => inflateRawSync(packed.subarray(0, end), { maxOutputLength: 5000 }))
  }
})

test('ciphers, hashes, PBKDF2', () => {
  const key = node.randomBytes(32)
  fc.assert(
    fc.property(octets, (plain) => {
      for (const algo of ['aes-256-gcm', 'aes-256-cfb', 'aes-256-cbc'] as const) {
        const iv = node.randomBytes(algo === 'aes-256-gcm' ? 12 : 16)
        const theirs = node.createCipheriv(algo, key, iv) as node.CipherGCM
        const ours = browser.createCipheriv(algo, key, iv)
        const sealed = Buffer.concat([theirs.update(plain), theirs.final()])
        same(Buffer.concat([ours.update(plain), ours.final()]), sealed)
        const opening = browser.createDecipheriv(algo, key, iv)
        if (algo === 'aes-256-gcm') {
          same(ours.getAuthTag(), theirs.getAuthTag())
          opening.setAuthTag(theirs.getAuthTag())
        }
        same(Buffer.concat([opening.update(sealed), opening.final()]), plain)
      }
      same(
        Buffer.from(browser.hash('sha256', plain, 'binary') as string, 'latin1'),
        node.hash('sha256', plain, 'buffer'),
      )
      same(browser.hash('sha384', plain, 'buffer') as Buffer, node.hash('sha384', plain, 'buffer'))
    }),
    { numRuns: 30 },
  )
  for (const prf of ['sha1', 'sha256', 'sha384', 'sha512'] as const) {
    same(browser.pbkdf2Sync(key, key, 7, 32, prf), node.pbkdf2Sync(key, key, 7, 32, prf))
  }
  assert.deepEqual(new Set(Array.from({ length: 500 }, () => browser.randomInt(3))), new Set([0, 1, 2]))
})

test('what is not authentic is not given out', () => {
  const [key, iv] = [node.randomBytes(32), node.randomBytes(12)]
  const cipher = browser.createCipheriv('aes-256-gcm', key, iv)
  const sealed = cipher.update(Buffer.from('secret'))
  sealed[0]! ^= 1
  const decipher = browser.createDecipheriv('aes-256-gcm', key, iv)
  decipher.setAuthTag(cipher.getAuthTag())
  same(decipher.update(sealed), Buffer.alloc(6))
  assert.throws(() => decipher.final())
})
