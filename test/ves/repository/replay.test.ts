import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inMemory } from './harness.ts'
import { replay } from './replay.ts'

test('94 requests of real C clients get answers that fit what satisfied them', async () => {
  const harness = await inMemory()
  try {
    assert.equal(await replay(harness), 94)
  } finally {
    await harness.close()
  }
})
