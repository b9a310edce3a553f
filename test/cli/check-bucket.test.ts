/** `vesmail check` and the spool's bucket, against a real server of that kind (s3rver) on loopback. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { runCheck } from '../../src/cli/check.ts'

interface S3Server {
  run(): Promise<AddressInfo>
  close(): Promise<void>
}
const S3rver = createRequire(import.meta.url)('s3rver') as new (options: Record<string, unknown>) => S3Server

const folder = mkdtempSync(join(tmpdir(), 'vesmail-check-'))
const server = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  directory: join(folder, 'store'),
  configureBuckets: [{ name: 'spool' }],
})
const endpoint = `http://127.0.0.1:${(await server.run()).port}`
after(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

function credentials(name: string, accessKeyId: string, secretAccessKey: string): string {
  const file = join(folder, name)
  writeFileSync(file, JSON.stringify({ accessKeyId, secretAccessKey }), { mode: 0o600 })
  return file
}
const right = credentials('right.json', 'S3RVER', 'S3RVER')

/** What is said of the bucket, by a configuration whose two daemons share it. */
async function saidOf(s3: Record<string, string>): Promise<string[]> {
  const conf = join(folder, 'vesmail.conf')
  const now = { s3: { endpoint, bucket: 'spool', credentials: right, prefix: 'mail/', ...s3 } }
  const daemons = ['smtp', 'now'].map((service, i) => ({ server: service, host: '127.0.0.1', port: 1 + i }))
  const program = { state: folder, ves: { api: 'http://127.0.0.1:1/' } }
  writeFileSync(conf, JSON.stringify({ '*': { now, ...program }, daemons }), { mode: 0o600 })
  const lines: string[] = []
  await runCheck({ conf, provider: [], user: null }, (line) => lines.push(line))
  return lines.filter((line) => /bucket|now\.s3/.test(line))
}

test('a bucket that works is tried once, and nothing is left in it', async () => {
  const [line = '', ...more] = await saidOf({})
  assert.match(line, /^ok .*vesmail\.conf:1:\d+: now\.s3\.bucket: spool bucket spool: put, get, list and delete work$/)
  assert.deepEqual(more, [])
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
  })
  assert.equal((await client.send(new ListObjectsV2Command({ Bucket: 'spool' }))).KeyCount, 0)
  client.destroy()
})

// A wrong secret is for test/long/spool-ceph.test.ts: s3rver does not compare signatures.
test('what is wrong with a bucket is said with the option to look at, and without a secret', async () => {
  const cases: readonly [Record<string, string>, RegExp][] = [
    [{ bucket: 'none' }, /no bucket "none": create it, or correct now\.s3\.bucket/],
    [{ credentials: credentials('id.json', 'OTHER', 'a-secret') }, /refused.*check now\.s3\.credentials/],
    [{ credentials: join(folder, 'absent.json') }, /now\.s3\.credentials: .*absent\.json: ENOENT/],
    [{ endpoint: 'http://127.0.0.1:1' }, /127\.0\.0\.1:1 cannot be reached \(ECONNREFUSED\): check now\.s3\.endpoint/],
    [{ endpoint: 'ftp://x' }, /now\.s3\.endpoint: expected https:/],
  ]
  for (const [s3, expected] of cases) {
    const [line = '', ...more] = await saidOf(s3)
    assert.match(line, /^FAIL .*vesmail\.conf:1:\d+: now\.s3\.bucket: spool bucket/)
    assert.match(line, expected)
    assert.doesNotMatch(line, /a-secret/)
    assert.deepEqual(more, [])
  }
})
