/** The object store spool against a real server of that kind (s3rver), on loopback. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { DEFAULTS } from '../../../src/base/config/options.ts'
import { GatewayError } from '../../../src/base/errors.ts'
import { silentLog } from '../../../src/base/log.ts'
import { Secret } from '../../../src/base/secret.ts'
import { messageFile, type SpoolLimits, type SpoolWriter } from '../../../src/net/now/spool.ts'
import { readS3Credentials, type S3Options, S3Spool } from '../../../src/net/now/spool-s3.ts'
import { Spools } from '../../../src/workers/spools.ts'
import { get, NO_LIMITS, put, spoolContract } from './spool-contract.ts'

interface S3Server {
  run(): Promise<AddressInfo>
  close(): Promise<void>
}
const S3rver = createRequire(import.meta.url)('s3rver') as new (options: Record<string, unknown>) => S3Server

const folder = mkdtempSync(join(tmpdir(), 'vesmail-s3-'))
const server = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  directory: folder,
  configureBuckets: [{ name: 'spool' }],
})
const { port } = await server.run()
const spools: S3Spool[] = []
after(async () => {
  for (const spool of spools) await spool.close()
  await server.close()
  rmSync(folder, { recursive: true })
})

const OPTIONS: S3Options = {
  endpoint: `http://127.0.0.1:${port}`,
  region: 'us-east-1',
  bucket: 'spool',
  prefix: '',
  credentials: { accessKeyId: 'S3RVER', secretAccessKey: new Secret('S3RVER') },
  caBundle: null,
}
let count = 0

function spoolIn(options: Partial<S3Options>, limits: SpoolLimits = NO_LIMITS): S3Spool {
  const spool = new S3Spool({ ...OPTIONS, ...options }, limits)
  spools.push(spool)
  return spool
}

spoolContract('object store', async (limits) => spoolIn({ prefix: `p${count++}/` }, limits))

test('object store: objects have the names of the directory, below the prefix; others in the bucket are left alone', async () => {
  const { S3Client, GetObjectCommand, PutObjectCommand } = await import('@aws-sdk/client-s3')
  const client = new S3Client({
    endpoint: OPTIONS.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
  })
  const spool = spoolIn({ prefix: 'names/' }, { ...NO_LIMITS, maxAgeMs: 1 })
  await put(spool, { creator: 'Alice@x.org', messageId: 'm1' }, 'here')
  const Key = `names/Alice@x.org/${messageFile('m1')}`
  assert.equal(
    await (await client.send(new GetObjectCommand({ Bucket: 'spool', Key }))).Body?.transformToString(),
    'here',
  )
  await client.send(new PutObjectCommand({ Bucket: 'spool', Key: 'names/somebody/elses.txt', Body: 'x' }))
  assert.equal(await spool.expire(Date.now() + 10_000), 1)
  const other = await client.send(new GetObjectCommand({ Bucket: 'spool', Key: 'names/somebody/elses.txt' }))
  assert.equal(await other.Body?.transformToString(), 'x')
  client.destroy()
})

const reason = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof GatewayError)
    assert.equal(error.code, 'IO')
    assert.doesNotMatch(inspect(error.detail), /S3RVER|wrong-key/)
    return String(error.detail.reason)
  }
  throw new Error('should have failed')
}

test('object store: failures say what to do', async () => {
  const place = { creator: 'a@x', messageId: 'm' }
  assert.match(await reason(put(spoolIn({ bucket: 'none' }), place, 'x')), /no bucket "none".*now\.s3\.bucket/)
  const wrong = { accessKeyId: 'OTHER', secretAccessKey: new Secret('wrong-key') }
  assert.match(await reason(get(spoolIn({ credentials: wrong }), place)), /refused.*now\.s3\.credentials/)
  const away = spoolIn({ endpoint: 'http://127.0.0.1:1' })
  assert.match(await reason(get(away, place)), /127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED\).*now\.s3\.endpoint/)
  assert.match(await reason(away.expire(0)), /cannot be reached/)
})

test('object store: two machines at once: the store decides whose copy it is, if it can', async () => {
  const asked: string[] = []
  let answer = 412
  const stub = createServer((request, response) => {
    request.resume().on('end', () => {
      const condition = request.headers['if-none-match'] ?? null
      asked.push(`${request.method} ${condition}`)
      response.statusCode = request.method === 'HEAD' ? 404 : condition === null ? 200 : answer
      response.end()
    })
  })
  await once(stub.listen(0, '127.0.0.1'), 'listening')
  const spool = spoolIn({ endpoint: `http://127.0.0.1:${(stub.address() as AddressInfo).port}` })
  const place = { creator: 'a@x', messageId: 'm' }
  assert.equal(await put(spool, place, 'x'), false)
  answer = 501
  assert.equal(await put(spool, place, 'x'), true)
  answer = 200
  assert.equal(await put(spool, place, 'x'), true)
  const puts = asked.filter((line) => line.startsWith('PUT'))
  assert.deepEqual(new Set(puts), new Set(['PUT *', 'PUT null']))
  assert.equal(puts.filter((line) => line === 'PUT null').length, 1)
  stub.close()
})

/** What of S3 an upload in parts needs, with the condition on whole objects alone, as many a store has it. */
async function storeWithoutLastCondition(deletes = true) {
  const objects = new Map<string, { body: Buffer; madeMs: number }>()
  const parts = new Map<string, Buffer[]>()
  const stub = createServer(async (request, response) => {
    const body: Buffer[] = []
    for await (const piece of request) body.push(piece as Buffer)
    const url = new URL(request.url ?? '', 'http://s3')
    const key = url.pathname
    const upload = url.searchParams.get('uploadId')
    const say = (status: number, text = '', headers = {}): unknown => response.writeHead(status, headers).end(text)
    switch (request.method) {
      case 'HEAD': {
        const found = objects.get(key)
        return found === undefined ? say(404) : say(200, '', { 'last-modified': new Date(found.madeMs).toUTCString() })
      }
      case 'PUT':
        if (upload !== null) {
          parts.get(upload)!.push(Buffer.concat(body))
          return say(200, '', { etag: '"part"' })
        }
        if (request.headers['if-none-match'] === '*' && objects.has(key)) return say(412)
        objects.set(key, { body: Buffer.concat(body), madeMs: Date.now() })
        return say(200, '', { etag: '"whole"' })
      case 'POST': {
        if (upload === null) {
          parts.set(String(parts.size), [])
          const id = `<UploadId>${parts.size - 1}</UploadId>`
          return say(200, `<InitiateMultipartUploadResult>${id}</InitiateMultipartUploadResult>`)
        }
        objects.set(key, { body: Buffer.concat(parts.get(upload)!), madeMs: Date.now() })
        parts.delete(upload)
        return say(200, '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')
      }
      default:
        if (upload === null && !deletes) return say(403)
        if (upload === null) objects.delete(key)
        else parts.delete(upload)
        return say(204)
    }
  })
  await once(stub.listen(0, '127.0.0.1'), 'listening')
  const close = (): unknown => stub.close()
  return { endpoint: `http://127.0.0.1:${(stub.address() as AddressInfo).port}`, objects, parts, close }
}

test('object store: of long copies that end at the same moment one is kept and stays, and a claim of a crash does not bar it', async () => {
  const store = await storeWithoutLastCondition()
  const place = { creator: 'a@x', messageId: 'm' }
  const long = async (letter: string): Promise<SpoolWriter> => {
    const writer = await spoolIn({ endpoint: store.endpoint }).create(place)
    await writer.write(Buffer.alloc(5 * 1024 * 1024, letter))
    await writer.write(Buffer.from(letter))
    return writer
  }
  const writers = await Promise.all(['a', 'b', 'c'].map(long))
  const ends = await Promise.allSettled(writers.map((writer) => writer.commit()))
  const isOurs = ends.map((end) => end.status === 'fulfilled' && end.value)
  for (const writer of writers) await writer.abort()
  assert.equal(isOurs.filter((one) => one).length, 1)
  const [[key = '', kept] = []] = store.objects
  assert.equal(store.objects.size, 1)
  assert.equal(kept?.body.at(-1), 'abc'.charCodeAt(isOurs.indexOf(true)))
  assert.equal(kept?.body.length, 5 * 1024 * 1024 + 1)
  assert.equal(store.parts.size, 0)
  // Held by another now, which may fail: nobody may be told that the copy is there. Left an hour ago: nobody holds it.
  for (const [agoMs, isKept] of [
    [1000, false],
    [4_000_000, true],
  ] as const) {
    store.objects.clear()
    store.objects.set(`${key}.claim`, { body: Buffer.alloc(0), madeMs: Date.now() - agoMs })
    const writer = await long('d')
    if (isKept) assert.equal(await writer.commit(), true)
    else await assert.rejects(writer.commit(), { code: 'IO' })
    await writer.abort()
    assert.equal(store.objects.has(key), isKept)
    assert.equal(store.objects.has(`${key}.claim`), !isKept)
    assert.equal(store.parts.size, 0)
  }
  store.close()
})

test('object store: a copy that is kept is kept, also where its claim cannot be taken away', async () => {
  const store = await storeWithoutLastCondition(false)
  for (const isKept of [true, false]) {
    const writer = await spoolIn({ endpoint: store.endpoint }).create({ creator: 'a@x', messageId: 'm' })
    await writer.write(Buffer.alloc(5 * 1024 * 1024))
    assert.equal(await writer.commit(), isKept)
    await writer.abort()
  }
  store.close()
})

test('credentials come from a file; a bad one is named, and never quoted', () => {
  const file = join(folder, 'credentials.json')
  writeFileSync(file, '{"accessKeyId":"id","secretAccessKey":"very-secret"}', { mode: 0o600 })
  const { credentials, isOpen } = readS3Credentials(file)
  assert.equal(isOpen, false)
  assert.doesNotMatch(inspect(credentials), /very-secret/)
  for (const text of ['very-secret', '{"accessKeyId":"very-secret"}', '[]']) {
    const bad = join(folder, 'bad.json')
    writeFileSync(bad, text)
    assert.throws(
      () => readS3Credentials(bad),
      (error) =>
        error instanceof GatewayError && error.code === 'CONFIG_INVALID' && !inspect(error).includes('very-secret'),
    )
  }
})

test('now.s3 takes the place of now.dir; what is wrong with it is said before anything is served', () => {
  const lines: string[] = []
  const log = { ...silentLog, write: (...line: unknown[]) => void lines.push(JSON.stringify(line)) }
  const spoolsOf = new Spools(log)
  const file = join(folder, 'open.json')
  writeFileSync(file, '{"accessKeyId":"id","secretAccessKey":"s"}', { mode: 0o644 })
  const config = { ...DEFAULTS, 'now.dir': folder, 'now.s3.bucket': 'b', 'now.s3.endpoint': 'https://s3.example' }
  const complete = { ...config, 'now.s3.credentials': file }
  assert.ok(spoolsOf.of(complete) instanceof S3Spool)
  assert.equal(spoolsOf.of({ ...complete }), spoolsOf.of(complete))
  assert.match(lines.join(), /chmod 600/)
  for (const bad of [
    config,
    { ...complete, 'now.s3.endpoint': 'ftp://x' },
    { ...complete, 'now.s3.credentials': '/none' },
  ]) {
    assert.throws(
      () => spoolsOf.check(bad),
      (error) => error instanceof GatewayError && error.code === 'CONFIG_INVALID',
    )
    assert.equal(spoolsOf.of({ ...bad }), null)
  }
  assert.match(lines.join(), /now\.s3\.endpoint/)
  spoolsOf.close()
})
