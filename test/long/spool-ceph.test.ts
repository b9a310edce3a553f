/**
 * The object store spool against Ceph's S3 gateway, which honours what s3rver does not: conditions on a write, the end of
 * an upload in parts, their list, and pages of a thousand. Long: a cluster starts for it. Needs root.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { GatewayError } from '../../src/base/errors.ts'
import { Secret } from '../../src/base/secret.ts'
import type { SpoolLimits } from '../../src/net/now/spool.ts'
import { type S3Options, S3Spool } from '../../src/net/now/spool-s3.ts'
import { startRadosGateway } from '../lab/rados-gateway.ts'
import { DAY_MS, get, NO_LIMITS, put, spoolContract } from '../net/now/spool-contract.ts'

const MiB = 1024 * 1024
const server = await startRadosGateway()
const client = new S3Client({
  endpoint: server.endpoint,
  region: 'us-east-1',
  forcePathStyle: true,
  credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
})
const spools: S3Spool[] = []
after(async () => {
  for (const spool of spools) await spool.close()
  client.destroy()
  await server.stop()
})
await client.send(new CreateBucketCommand({ Bucket: 'spool' }))

const OPTIONS: S3Options = {
  endpoint: server.endpoint,
  region: 'us-east-1',
  bucket: 'spool',
  prefix: '',
  credentials: { accessKeyId: server.accessKeyId, secretAccessKey: new Secret(server.secretAccessKey) },
  caBundle: null,
}
let count = 0

function spoolIn(options: Partial<S3Options>, limits: SpoolLimits = NO_LIMITS): S3Spool {
  const spool = new S3Spool({ ...OPTIONS, ...options }, limits)
  spools.push(spool)
  return spool
}

async function uploadsBelow(prefix: string): Promise<number> {
  const listed = await client.send(new ListMultipartUploadsCommand({ Bucket: 'spool', Prefix: prefix }))
  return listed.Uploads?.length ?? 0
}

spoolContract('Ceph', async (limits) => spoolIn({ prefix: `p${count++}/` }, limits))

test('Ceph: of twenty machines that keep a copy at the same moment one does, and its copy is whole', async () => {
  const place = { creator: 'a@x', messageId: 'race' }
  const machines = await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      const writer = await spoolIn({ prefix: 'race/' }).create(place)
      await writer.write(Buffer.alloc(100_000, 97 + n))
      return writer
    }),
  )
  const isOurs = await Promise.all(machines.map((writer) => writer.commit()))
  assert.equal(isOurs.filter((one) => one).length, 1)
  const letter = String.fromCharCode(97 + isOurs.indexOf(true))
  assert.ok((await get(spoolIn({ prefix: 'race/' }), place)) === letter.repeat(100_000))
})

test('Ceph: of five long copies that end at the same moment one is kept, whole, and stays', async () => {
  const place = { creator: 'a@x', messageId: 'long' }
  for (let round = 0; round < 5; round++) {
    const prefix = `long${round}/`
    const machines = await Promise.all(
      Array.from({ length: 5 }, async (_, n) => {
        const writer = await spoolIn({ prefix }).create(place)
        await writer.write(Buffer.alloc(5 * MiB, 97 + n))
        await writer.write(Buffer.alloc(100, 97 + n))
        return writer
      }),
    )
    const ends = await Promise.allSettled(machines.map((writer) => writer.commit()))
    const isOurs = ends.map((end) => end.status === 'fulfilled' && end.value)
    for (const writer of machines) await writer.abort()
    assert.equal(isOurs.filter((one) => one).length, 1)
    const letter = String.fromCharCode(97 + isOurs.indexOf(true))
    assert.ok((await get(spoolIn({ prefix }), place)) === letter.repeat(5 * MiB + 100))
    assert.equal(await uploadsBelow(prefix), 0)
    const { Contents } = await client.send(new ListObjectsV2Command({ Bucket: 'spool', Prefix: prefix }))
    assert.equal(Contents?.length, 1)
  }
})

test('Ceph: an upload in parts that is given up is dropped; one that a crash left goes after a day', async () => {
  const spool = spoolIn({ prefix: 'parts/' })
  const begin = async (messageId: string) => {
    const writer = await spool.create({ creator: 'a@x', messageId })
    await writer.write(Buffer.alloc(6 * MiB))
    return writer
  }
  const given = await begin('given up')
  assert.equal(await uploadsBelow('parts/'), 1)
  await given.abort()
  assert.equal(await uploadsBelow('parts/'), 0)
  await begin('left by a crash')
  await spool.expire(Date.now())
  assert.equal(await uploadsBelow('parts/'), 1)
  await spool.expire(Date.now() + 2 * DAY_MS)
  assert.equal(await uploadsBelow('parts/'), 0)
})

test('Ceph: a long copy that comes second leaves the first, and no parts', async () => {
  const spool = spoolIn({ prefix: 'second/' })
  const place = { creator: 'a@x', messageId: 'm' }
  assert.equal(await put(spool, place, 'first'), true)
  assert.equal(await put(spool, place, Buffer.alloc(6 * MiB)), false)
  assert.equal(await get(spool, place), 'first')
  assert.equal(await uploadsBelow('second/'), 0)
})

test('Ceph: more copies than a page lists are counted, and expire', async () => {
  const spool = spoolIn({ prefix: 'pages/' }, { ...NO_LIMITS, maxAgeMs: DAY_MS })
  const copies = Array.from({ length: 1100 }, (_, n) => ({ creator: 'a@x', messageId: `m${n}` }))
  while (copies.length > 0) await Promise.all(copies.splice(0, 20).map((place) => put(spool, place, 'ten octets')))
  assert.deepEqual(await spool.usage('a@x', 10_000), { copies: 1100, octets: 11_000 })
  assert.equal(await spool.expire(Date.now()), 0)
  assert.equal(await spool.expire(Date.now() + 2 * DAY_MS), 1100)
  assert.deepEqual(await spool.usage('a@x', 10_000), { copies: 0, octets: 0 })
})

test('Ceph: failures say what to do', async () => {
  const place = { creator: 'a@x', messageId: 'm' }
  const reasonOf = async (work: Promise<unknown>): Promise<string> => {
    const error: unknown = await work.then(
      () => null,
      (failed: unknown) => failed,
    )
    assert.ok(error instanceof GatewayError && error.code === 'IO')
    return String(error.detail.reason)
  }
  const withKey = (key: string) => spoolIn({ credentials: { accessKeyId: key, secretAccessKey: new Secret('wrong') } })
  assert.match(await reasonOf(put(spoolIn({ bucket: 'none' }), place, 'x')), /no bucket "none".*now\.s3\.bucket/)
  // A copy asks by HEAD first, to which no reason is given; `vesmail check` does not.
  assert.match(await reasonOf(put(withKey(server.accessKeyId), place, 'x')), /refused: check now\.s3\.credentials/)
  assert.match(await reasonOf(withKey(server.accessKeyId).probe()), /put: .*\(SignatureDoesNotMatch\)/)
  assert.match(await reasonOf(withKey('NOBODY').probe()), /put: .*\(InvalidAccessKeyId\)/)
  assert.match(await reasonOf(spoolIn({ bucket: 'none' }).probe()), /put: no bucket "none"/)
  await spoolIn({}).probe()
})
