/** What a relay is told of an upload that cannot be kept (now.md): whose fault it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { HttpRequest } from '../../../src/net/http.ts'
import type { SpoolWriter } from '../../../src/net/now/spool.ts'
import { type UploadParts, upload } from '../../../src/net/now/upload.ts'

const MESSAGE = 'X-VESmail-ID: <m@x>\r\nX-VESmail-Verify: token\r\n\r\nsealed\r\n'

/** @returns status, what happened to the copy, and what to its creator's quota */
async function uploading(fails: Partial<SpoolWriter>, more: Partial<UploadParts> = {}): Promise<[number, string]> {
  const seen: string[] = []
  const writer: SpoolWriter = {
    write: async () => {},
    commit: async () => true,
    abort: async () => void seen.push('aborted'),
    ...fails,
  }
  const parts = {
    spool: { create: async () => writer },
    uploadedItem: async () => ({ creator: 'a@x', isShared: true }),
    maxOctets: 1000,
    admit: async () => ({ grow: () => true, end: (isKept: boolean) => void seen.push(isKept ? 'kept' : 'given back') }),
    ...more,
  } as unknown as UploadParts
  const stream = (async function* () {
    yield Buffer.from(MESSAGE)
  })()
  const { status } = await upload({ stream } as unknown as HttpRequest, parts)
  return [status, seen.join(', ')]
}

const full = async (): Promise<never> => {
  throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
}

test('a disk that is full is 500, nothing of the copy stays, and its place in the quota is given back', async () => {
  assert.deepEqual(await uploading({}), [201, 'kept, aborted'])
  assert.deepEqual(await uploading({ write: full }), [500, 'given back, aborted'])
  assert.deepEqual(await uploading({ commit: full }), [500, 'given back, aborted'])
  const spool = { create: full } as unknown as UploadParts['spool']
  assert.deepEqual(await uploading({}, { spool }), [500, 'given back'])
})

test('a repository in trouble is 503, one that says no 401; a copy that is there already 403', async () => {
  const says = (code: 'VES_CONNECTION' | 'VES_DENIED') => ({
    uploadedItem: async (): Promise<never> => {
      throw new GatewayError(code)
    },
  })
  assert.deepEqual(await uploading({}, says('VES_CONNECTION')), [503, ''])
  assert.deepEqual(await uploading({}, says('VES_DENIED')), [401, ''])
  assert.deepEqual(await uploading({ commit: async () => false }), [403, 'given back, aborted'])
})
