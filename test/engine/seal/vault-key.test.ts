import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createPublicKey, diffieHellman, generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { openWhole } from '../../../src/engine/seal/ciphers.ts'
import { type KeyJob, runKeyJob } from '../../../src/engine/seal/key-job.ts'
import {
  type KeyKind,
  openFromVaultKey,
  publicOf,
  readPublicKey,
  sealToVaultKey,
  sealToVaultKeys,
  unlockPrivateKey,
} from '../../../src/engine/seal/vault-key.ts'
import { DER, writeElement, writeInteger } from '../../../src/engine/seal/vault-key-der.ts'
import { makeVaultKey, makeVeskey } from '../../../src/engine/seal/vault-key-make.ts'
import { encryptPrivateKey, printPem, readPem } from '../../../src/engine/seal/vault-key-pbes2.ts'

interface Vectors {
  keys: { id: number; algo: string; veskey: string; publicKey: string; privateKey: string }[]
  items: { externalId: string; value: string; entries: { vaultKey: number; encData: string }[] }[]
}
const vectors = JSON.parse(readFileSync(new URL('../../vectors/vault-keys.json', import.meta.url), 'utf8')) as Vectors

const openPadded = (keyString: Buffer, sealed: Buffer) => openWhole({ algo: 'AES256GCMp', keyString }, sealed)
const spkiPem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString()

const KINDS: readonly KeyKind[] = ['RSA', 'P-256', 'P-384', 'P-521', 'ML-KEM-512', 'ML-KEM-768', 'ML-KEM-1024']
const VESKEY = Buffer.from('a VESkey of no importance')
const made = new Map(KINDS.map((kind) => [kind, makeVaultKey(kind, VESKEY)]))

function withCode(code: string, text?: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof GatewayError, String(error))
    assert.equal(error.code, code)
    if (text !== undefined) assert.match(error.wireText, text)
    return true
  }
}

describe('vault keys of the C library', () => {
  const keys = new Map(vectors.keys.map((key) => [key.id, key]))
  const unlocked = new Map(
    vectors.keys.map((key) => [key.id, unlockPrivateKey(key.privateKey, Buffer.from(key.veskey))]),
  )

  test('every entry opens to the value of its item', () => {
    let entries = 0
    for (const item of vectors.items) {
      for (const { vaultKey, encData } of item.entries) {
        const value = openFromVaultKey(unlocked.get(vaultKey)!, Buffer.from(encData, 'base64'))
        assert.equal(value.toString('hex'), item.value, `${item.externalId} for ${vaultKey}`)
        entries++
      }
    }
    assert.equal(entries, 50)
  })

  test('algorithm and public half are what the repository says', () => {
    for (const [id, key] of unlocked) {
      const publicKey = readPublicKey(keys.get(id)!.publicKey)
      assert.equal(key.algo, keys.get(id)!.algo)
      assert.equal(publicKey.kind, key.kind)
      assert.ok(publicOf(key).key.equals(publicKey.key))
    }
  })

  test('what we seal to them opens again', () => {
    const ids = [...keys.keys()]
    const value = Buffer.from(vectors.items[0]!.value, 'hex')
    sealToVaultKeys(
      ids.map((id) => keys.get(id)!.publicKey),
      value,
    ).forEach((sealed, i) => {
      assert.deepEqual(openFromVaultKey(unlocked.get(ids[i]!)!, sealed), value)
    })
  })

  test('a wrong VESkey is told, whatever it happens to decrypt to', () => {
    const { privateKey } = vectors.keys[1]!
    // 600 tries: two of them or so end in a padding that looks right.
    for (let i = 0; i < 600; i++) {
      assert.throws(() => unlockPrivateKey(privateKey, Buffer.from(`wrong ${i}`)), withCode('VES_UNLOCK'))
    }
  })
})

describe('every kind of key', () => {
  for (const kind of KINDS) {
    test(`${kind}: values of all lengths come back, sealed anew each time`, () => {
      const { publicKey, privateKey } = made.get(kind)!
      const key = unlockPrivateKey(privateKey, VESKEY)
      assert.equal(key.kind, kind)
      for (const octets of [0, 1, 30, 31, 32, 44, 213, 214, 215, 300, 5000]) {
        const value = Buffer.alloc(octets, 0xa5)
        const sealed = sealToVaultKey(publicKey, value)
        assert.deepEqual(openFromVaultKey(key, sealed), value)
        assert.notDeepEqual(sealToVaultKey(publicKey, value), sealed)
      }
    })

    test(`${kind}: what was altered or cut does not open`, () => {
      const { publicKey, privateKey } = made.get(kind)!
      const key = unlockPrivateKey(privateKey, VESKEY)
      const sealed = sealToVaultKey(publicKey, Buffer.alloc(300, 1))
      const step = Math.ceil(sealed.length / 60)
      for (let at = 0; at < sealed.length; at += step) {
        const altered = Buffer.from(sealed)
        altered[at]! ^= 0x41
        assert.throws(() => openFromVaultKey(key, altered), withCode('VES_CRYPTO'), `altered at ${at}`)
        assert.throws(() => openFromVaultKey(key, sealed.subarray(0, at)), withCode('VES_CRYPTO'), `cut at ${at}`)
      }
    })

    test(`${kind}: jobs and results survive the way to a thread`, () => {
      const { port1, port2 } = new MessageChannel()
      const thread = (job: KeyJob) => {
        port1.postMessage(job)
        const there = receiveMessageOnPort(port2)!.message as KeyJob
        port2.postMessage(runKeyJob(there))
        return receiveMessageOnPort(port1)!.message
      }
      const { publicKey, privateKey } = made.get(kind)!
      const key = thread({ kind: 'read', job: { publicKey } })
      const { sealed } = thread({ kind: 'seal', job: { keys: [key, publicKey], value: Buffer.from('value') } })
      const opened = thread({ kind: 'unlock', job: { privateKey, veskey: VESKEY, sealed } })
      assert.deepEqual(
        opened.values.map((value: Uint8Array) => Buffer.from(value).toString()),
        ['value', 'value'],
      )
      const again = thread({ kind: 'open', job: { key: opened.key, sealed } })
      assert.deepEqual(again.values, opened.values)
      port1.close()
    })
  }

  test('one value to many keys: one ephemeral key a curve, another one in the next call', () => {
    const pems = (['P-256', 'P-521', 'P-256', 'P-521'] as const).map((kind) => makeVaultKey(kind, VESKEY).publicKey)
    const spki = (sealed: Buffer, kind: KeyKind) => sealed.subarray(0, kind === 'P-256' ? 91 : 158).toString('hex')
    const first = sealToVaultKeys(pems, Buffer.from('x'))
    const second = sealToVaultKeys(pems, Buffer.from('x'))
    assert.equal(spki(first[0]!, 'P-256'), spki(first[2]!, 'P-256'))
    assert.equal(spki(first[1]!, 'P-521'), spki(first[3]!, 'P-521'))
    assert.notEqual(spki(first[0]!, 'P-256'), spki(second[0]!, 'P-256'))
    assert.notDeepEqual(first[0]!.subarray(91), first[2]!.subarray(91))
  })

  test('the shared x keeps its leading zeros', () => {
    const { publicKey, privateKey } = made.get('P-256')!
    const key = unlockPrivateKey(privateKey, VESKEY)
    for (let tries = 0; ; tries++) {
      assert.ok(tries < 20_000, 'no shared x with a leading zero')
      const sealed = sealToVaultKey(publicKey, Buffer.from('v'))
      const ephemeral = createPublicKey({ key: sealed.subarray(0, 91), format: 'der', type: 'spki' })
      const x = diffieHellman({ privateKey: key.key, publicKey: ephemeral })
      if (x[0] !== 0) continue
      assert.equal(x.length, 32)
      const cipherKey = hash('sha384', x, 'buffer').subarray(0, 44)
      assert.equal(openPadded(cipherKey, sealed.subarray(91)).toString(), 'v')
      return
    }
  })

  test('a VESkey is 32 characters and never the same', () => {
    const keys = new Set(Array.from({ length: 100 }, () => makeVeskey().toString()))
    assert.equal(keys.size, 100)
    for (const key of keys) assert.match(key, /^[A-Za-z0-9]{32}$/)
  })
})

describe('ML-KEM private keys', () => {
  for (const [kind, oid] of [
    ['ML-KEM-512', '01'],
    ['ML-KEM-768', '02'],
    ['ML-KEM-1024', '03'],
  ] as const) {
    const { privateKey, publicKey } = generateKeyPairSync(kind.toLowerCase() as 'ml-kem-768')
    const der = privateKey.export({ type: 'pkcs8', format: 'der' })
    const inner = der.subarray(der.indexOf(Buffer.from('0440', 'hex')))
    const seed = inner.subarray(2, 66)
    const expanded = inner.subarray(70)
    const pkcs8 = (encoded: Buffer) =>
      writeElement(
        DER.sequence,
        writeInteger(0),
        writeElement(DER.sequence, writeElement(DER.oid, Buffer.from(`6086480165030404${oid}`, 'hex'))),
        writeElement(DER.octets, encoded),
      )
    const forms = {
      seed: writeElement(0x80, seed),
      expanded: writeElement(DER.octets, expanded),
      both: writeElement(DER.sequence, writeElement(DER.octets, seed), writeElement(DER.octets, expanded)),
    }
    for (const [form, encoded] of Object.entries(forms)) {
      test(`${kind} as ${form}`, () => {
        const key = unlockPrivateKey(encryptPrivateKey(pkcs8(encoded), VESKEY), VESKEY)
        const sealed = sealToVaultKey(spkiPem(publicKey), Buffer.from('value'))
        assert.equal(openFromVaultKey(key, sealed).toString(), 'value')
      })
    }
    test(`${kind} is written as both`, () => {
      assert.deepEqual(der, pkcs8(forms.both))
    })
  }
})

describe('openssl as the second implementation', () => {
  const inFolder = <T>(run: (folder: string) => T): T => {
    const folder = mkdtempSync(join(tmpdir(), 'vault-key-'))
    try {
      return run(folder)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
  const openssl = (args: readonly string[], input?: string | Buffer) =>
    execFileSync('openssl', args, { ...(input === undefined ? {} : { input }), stdio: ['pipe', 'pipe', 'pipe'] })

  for (const kind of ['RSA', 'P-256', 'P-384', 'P-521'] as const) {
    test(`${kind}: reads what we wrote, and finds the same public key`, () => {
      const { privateKey, publicKey } = made.get(kind)!
      assert.equal(openssl(['pkey', '-passin', `pass:${VESKEY}`, '-pubout'], privateKey).toString(), publicKey)
    })

    for (const prf of ['hmacWithSHA1', 'hmacWithSHA256', 'hmacWithSHA384', 'hmacWithSHA512']) {
      test(`${kind}: we read what it wrote with ${prf}, and with CRLF`, () => {
        const clear = openssl(['pkey', '-passin', `pass:${VESKEY}`], made.get(kind)!.privateKey)
        const args = ['pkcs8', '-topk8', '-v2', 'aes-256-cbc', '-v2prf', prf, '-iter', '777', '-passout', 'pass:s3crét']
        const pem = openssl(args, clear).toString()
        const veskey = Buffer.from('s3crét')
        const key = unlockPrivateKey(pem, veskey)
        assert.ok(publicOf(key).key.equals(readPublicKey(made.get(kind)!.publicKey).key))
        assert.ok(unlockPrivateKey(pem.trimEnd().replaceAll('\n', '\r\n'), veskey).key.equals(key.key))
      })
    }
  }

  test('no PBKDF2 keyLength is written', () => {
    const der = readPem(made.get('P-256')!.privateKey, 'ENCRYPTED PRIVATE KEY')
    const dump = openssl(['asn1parse', '-inform', 'DER'], der).toString()
    assert.match(dump, /INTEGER +:0800\n[^\n]*SEQUENCE[^\n]*\n[^\n]*hmacWithSHA256/)
  })

  test('derives the same secret for an entry', () => {
    inFolder((folder) => {
      const { publicKey, privateKey } = made.get('P-521')!
      const sealed = sealToVaultKey(publicKey, Buffer.from('value'))
      writeFileSync(join(folder, 'peer.pem'), printPem(sealed.subarray(0, 158), 'PUBLIC KEY'))
      writeFileSync(join(folder, 'key.pem'), privateKey)
      const x = openssl([
        ...['pkeyutl', '-derive', '-inkey', join(folder, 'key.pem'), '-passin', `pass:${VESKEY}`],
        ...['-peerkey', join(folder, 'peer.pem')],
      ])
      const key = hash('sha384', x, 'buffer').subarray(0, 44)
      assert.equal(openPadded(key, sealed.subarray(158)).toString(), 'value')
    })
  })
})

describe('what must not pass', () => {
  test('an unknown algorithm is named', () => {
    const x25519 = spkiPem(generateKeyPairSync('x25519').publicKey)
    assert.throws(() => readPublicKey(x25519), withCode('VES_UNSUPPORTED', /X25519/))
    const secp256k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey
    const pem = spkiPem(secp256k1)
    assert.throws(() => readPublicKey(pem), withCode('VES_UNSUPPORTED', /secp256k1/))
    const rsa = spkiPem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)
    assert.throws(() => readPublicKey(rsa), withCode('VES_UNSUPPORTED', /1024 bits/))
    const algorithm = writeElement(DER.sequence, writeElement(DER.oid, Buffer.from('2b0601040183a32b0305', 'hex')))
    const js = printPem(writeElement(DER.sequence, algorithm, writeElement(0x03, Buffer.alloc(1185))), 'PUBLIC KEY')
    assert.throws(() => readPublicKey(js), withCode('VES_UNSUPPORTED', /libVES for JavaScript/))
  })

  test('an ephemeral key on another curve', () => {
    const key = unlockPrivateKey(made.get('P-521')!.privateKey, VESKEY)
    const sealed = sealToVaultKey(made.get('P-256')!.publicKey, Buffer.from('value'))
    assert.throws(() => openFromVaultKey(key, sealed), withCode('VES_CRYPTO', /curves/))
  })

  test('a private key that would cost minutes', () => {
    const der = readPem(made.get('P-256')!.privateKey, 'ENCRYPTED PRIVATE KEY')
    const rounds = der.indexOf(writeInteger(2048))
    // 02 02 08 00: the same room for two octets only, so the element is rebuilt around the larger number.
    const costly = (count: Buffer) => {
      const grow = count.length - 4
      const out = Buffer.concat([der.subarray(0, rounds), count, der.subarray(rounds + 4)])
      // Lengths of the elements around it: outer, algorithm, scheme, derivation, parameters.
      out.writeUInt8(out[2]! + grow, 2)
      for (const at of [4, 17, 19, 32]) out.writeUInt8(out[at]! + grow, at)
      return printPem(out, 'ENCRYPTED PRIVATE KEY')
    }
    const huge = writeInteger(2_000_000_000)
    assert.throws(() => unlockPrivateKey(costly(huge), VESKEY), withCode('VES_UNSUPPORTED', /2000000000 rounds/))
  })

  test('an oversized PEM', () => {
    assert.throws(() => readPublicKey(`${made.get('P-256')!.publicKey}${' '.repeat(65_535)}`), withCode('VES_CRYPTO'))
  })

  test('fuzz: a result or a GatewayError', () => {
    const sources = KINDS.map((kind) => made.get(kind)!)
    const bytes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 })
    const mutate = (input: Buffer, changes: [number, number][], cut: number) => {
      const out = Buffer.from(input.subarray(0, input.length - (cut % (input.length + 1))))
      for (const [at, value] of changes) if (out.length > 0) out[at % Math.min(out.length, 200)] = value
      return out
    }
    const orError = (run: () => unknown) => {
      try {
        run()
      } catch (error) {
        assert.ok(error instanceof GatewayError, String(error))
      }
    }
    fc.assert(
      fc.property(fc.nat(KINDS.length - 1), bytes, fc.oneof(fc.constant(0), fc.nat()), (which, changes, cut) => {
        const { publicKey, privateKey } = sources[which]!
        const spki = mutate(readPem(publicKey, 'PUBLIC KEY'), changes, cut)
        orError(() => sealToVaultKey(printPem(spki, 'PUBLIC KEY'), Buffer.from('v')))
        const locked = mutate(readPem(privateKey, 'ENCRYPTED PRIVATE KEY'), changes, cut)
        orError(() => unlockPrivateKey(printPem(locked, 'ENCRYPTED PRIVATE KEY'), VESKEY))
      }),
      { numRuns: 400 },
    )
    fc.assert(
      fc.property(fc.nat(KINDS.length - 1), fc.uint8Array({ maxLength: 2000 }), (which, sealed) => {
        const key = unlockPrivateKey(sources[which]!.privateKey, VESKEY)
        orError(() => openFromVaultKey(key, Buffer.from(sealed)))
      }),
      { numRuns: 200 },
    )
  })
})
