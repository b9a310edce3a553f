/**
 * A mailbox of 2,000 messages, plain and sealed ones, read through the gateway by clients that nobody here wrote, and its
 * plain twin read directly: both get the same. Its
 * clients come by `npm run test:long`. VESMAIL_TEST_MESSAGES: another number; VESMAIL_TEST_KEEP: a folder for what was read.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { withCrlf } from '../../scripts/oracle/messages.ts'
import { imapLab } from '../e2e/imap-lab.ts'
import { RawImap } from '../e2e/raw-imap.ts'
import { labProvider } from '../lab/provider.ts'
import { CLIENTS } from './mail-clients.ts'

const MESSAGES = Number(process.env.VESMAIL_TEST_MESSAGES ?? 2000)
const users = ['plain', 'mixed'].map((name) => ({ name, password: `${name}-at-the-provider` }))
const provider = await labProvider(users)
const lab = await imapLab({
  host: provider.host,
  port: provider.ports.imap,
  passwords: Object.fromEntries(users.map(({ name, password }) => [name, password])),
})
const scratch = mkdtempSync(join(tmpdir(), 'vm-clients-'))
chmodSync(scratch, 0o755)
after(() => rmSync(scratch, { recursive: true, force: true }))

/** Our own fixtures, and the shared corpus where it is there: as many as wanted, each another one by its number. */
function messages(): Buffer[] {
  const root = new URL('../..', import.meta.url).pathname
  const folders = ['test/engine/seal/fixtures', 'test/engine/imap/view/fixtures', '../shared/corpus']
  const found = folders
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !/\.(json|md|ts)$/.test(entry.name))
        .map((entry) => join(entry.parentPath, entry.name)),
    )
    .sort()
  return Array.from({ length: MESSAGES }, (_, i) => {
    const octets = withCrlf(readFileSync(found[i % found.length]!))
    // A field in front makes each another one; a client may take those without an end for one of its own mbox lines.
    return Buffer.concat([Buffer.from(`X-Number: ${i}\r\n`), octets])
  })
}

async function fill(): Promise<void> {
  const plain = await RawImap.login(provider.ports.imap, 'plain', users[0]!.password)
  const mixed = await RawImap.login(provider.ports.imap, 'mixed', users[1]!.password)
  const gateway = await RawImap.login(lab.port, 'mixed@lab.test', 'veskey')
  for (const [i, message] of messages().entries()) {
    const head = `APPEND INBOX ${i % 3 === 0 ? '(\\Seen) ' : ''}"${10 + (i % 18)}-Oct-2026 12:00:00 +0000" {${message.length}+}\r\n`
    const command = Buffer.concat([Buffer.from(head), message])
    for (const client of [plain, i % 4 === 0 ? mixed : gateway]) {
      assert.match((await client.command(command)).at(-1)!, /^ OK/, `message ${i}`)
    }
  }
  for (const client of [plain, mixed, gateway]) client.close()
}

/** A message as its number and a digest: what a failure can show. */
function inWords(found: readonly string[]): string[] {
  return found
    .map((each) => {
      // Python's parser gives a boundary of its own to a multipart that has none.
      const message = each.replace(/={15}\d{19}==/g, '===')
      const number = /X-Number: (\d+)/.exec(message)?.[1] ?? '?'
      return `${number} ${message.length} ${createHash('sha256').update(message, 'latin1').digest('hex')}`
    })
    .sort()
}

describe('a mailbox read through the gateway is its plain twin', async () => {
  await fill()
  for (const [name, read] of Object.entries(CLIENTS)) {
    it(name, async () => {
      const read1 = async (which: string, port: number, user: string, password: string): Promise<string[]> => {
        const folder = join(scratch, name, which)
        mkdirSync(folder, { recursive: true })
        return read({ port, user, password, folder, messages: MESSAGES })
      }
      const direct = await read1('direct', provider.ports.imap, 'plain', users[0]!.password)
      const through = await read1('through', lab.port, 'mixed@lab.test', 'veskey')
      assert.ok(direct.length >= MESSAGES * 0.95, `${direct.length} messages read directly`)
      const [expected, got] = [new Set(inWords(direct)), new Set(inWords(through))]
      if (process.env.VESMAIL_TEST_KEEP !== undefined)
        writeFileSync(`${process.env.VESMAIL_TEST_KEEP}/${name}.json`, JSON.stringify({ direct, through }))
      const differ = [...got].filter((each) => !expected.has(each))
      assert.deepEqual(differ.slice(0, 5), [], `${differ.length} of ${got.size} differ`)
      assert.equal(through.length, direct.length)
    })
  }
})
