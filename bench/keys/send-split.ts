/** One message for three, one at a time, everything kept that can be: where the time of its key goes. */

import { runTransform } from '../../src/engine/run-transform.ts'
import { runBatch } from '../../src/engine/seal/batch.ts'
import { inlineKeyOperations, type KeyOperations } from '../../src/engine/seal/key-job.ts'
import { publicRandom } from '../../src/engine/seal/random.ts'
import { Sealer } from '../../src/engine/seal/sealer.ts'
import { VesClient } from '../../src/ves/client/ves-client.ts'
import { median, type Row } from '../rows.ts'
import type { Ground } from './operations.ts'

const MESSAGES = 60
const BODY = Buffer.from(
  `From: a@bench.test\r\nSubject: x\r\n\r\n${'A line of text, as mail has it.\r\n'.repeat(3200)}`,
)

export async function sendSplit(grounds: readonly Ground[]): Promise<Row[]> {
  const rows: Row[] = []
  for (const ground of grounds) rows.push(...(await splitOf(ground)))
  return rows
}

async function splitOf(ground: Ground): Promise<Row[]> {
  let keyMs = 0
  const keys: KeyOperations = {
    run: async (kind, job) => {
      const begin = performance.now()
      const result = await inlineKeyOperations.run(kind, job)
      keyMs += performance.now() - begin
      return result
    },
  }
  const client = new VesClient({ api: ground.served.api, keys })
  const { uri, password } = ground.accounts[0]!
  const session = await client.unlock(uri, password)
  const network: number[] = []
  const keyOperations: number[] = []
  const crypto: number[] = []
  for (let i = -5; i < MESSAGES; i++) {
    keyMs = 0
    let answeredMs = 0
    const begin = performance.now()
    const sealer = new Sealer({
      random: publicRandom,
      idBase: '.bench',
      settings: { subject: 'x', banners: [], viewerUrl: null, maxbufOctets: 1 << 20 },
      totalOctets: null,
      addedIdStays: false,
    })
    const sealed = runTransform(sealer, [BODY], {
      batch: runBatch,
      'seal-key': async ({ messageId }) => {
        const asked = performance.now()
        const { key, uri: item } = await session.createMessageKey(messageId, ground.refs.slice(1, 4))
        answeredMs += performance.now() - asked
        return { key, uri: item, xchg: null, verify: null }
      },
    })
    for await (const _ of sealed);
    if (i < 0) continue
    const totalMs = performance.now() - begin
    network.push(answeredMs - keyMs)
    keyOperations.push(keyMs)
    crypto.push(totalMs - answeredMs)
  }
  await client.close()
  const suffix = ground.kind === 'P-521' ? '-p521' : ''
  const row = (name: string, values: readonly number[], note: string): Row => ({
    bench: 'keys',
    name: `send-3-${name}${suffix}`,
    value: median(values),
    unit: 'ms',
    note,
  })
  return [
    row('network', network, 'request and repository, of one message of 100 KiB for 3'),
    row('keys', keyOperations, 'key operations'),
    row('crypto', crypto, 'sealing the message'),
  ]
}
