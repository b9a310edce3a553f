/**
 * What thirteen mail clients were seen to ask of a server (recorded sessions, their FETCH and SEARCH commands), asked of a
 * mixed mailbox through the gateway and of its plain twin directly: the same answers.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { withCrlf } from '../../scripts/oracle/messages.ts'
import { LAB_PASSWORDS, labProvider } from '../lab/provider.ts'
import { imapLab } from './imap-lab.ts'
import { RawImap } from './raw-imap.ts'

const provider = await labProvider()
const lab = await imapLab({
  host: provider.host,
  port: provider.ports.imap,
  passwords: LAB_PASSWORDS,
  search: 'open',
  settings: { sizeBudgetOctets: 64 * 1024 * 1024 },
})

/** By client; `#`: one message's number or UID. */
const COMMANDS = JSON.parse(readFileSync(new URL('fixtures/client-commands.json', import.meta.url), 'utf8')) as Record<
  string,
  readonly string[]
>

function messages(): Buffer[] {
  const folder = new URL('../engine/seal/fixtures/', import.meta.url)
  const files = readdirSync(folder, { recursive: true }).filter((file) => String(file).endsWith('.eml'))
  const large = `Subject: attachment\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nlorem ipsum\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n${'QUJD'.repeat(19).concat('\r\n').repeat(3000)}--b--\r\n`
  return [...files.sort().map((file) => withCrlf(readFileSync(new URL(String(file), folder)))), Buffer.from(large)]
}

/** Plain ones come first, where the client has not asked for the server's order; times and recency differ by nature. */
function comparable(answer: readonly string[]): string[] {
  const clean = (text: string): string =>
    text
      .replace(/\([\d.]+ \+ [\d. +]+secs\)/g, '')
      .replace(/ ?\\Recent/g, '')
      .replace(/MODSEQ \(\d+\)/g, 'MODSEQ')
  // What is told of MODSEQ alone comes when the server likes.
  const own = answer.filter(
    (text) => !/^\* OK \[HIGHESTMODSEQ|^\* \d+ FETCH \((UID \d+ )?MODSEQ \(\d+\)\)\r\n$/.test(text),
  )
  return [...own.slice(0, -1).map(clean).sort(), clean(own.at(-1)!)]
}

describe('the commands of recorded clients', async () => {
  const plain = await RawImap.login(provider.ports.imap, 'alice', LAB_PASSWORDS.alice!)
  const stored = await RawImap.login(provider.ports.imap, 'bob', LAB_PASSWORDS.bob!)
  const filling = await RawImap.login(lab.port, 'bob@lab.test', 'veskey')
  const all = messages()
  for (const [i, message] of all.entries()) {
    const command = Buffer.concat([
      Buffer.from(`APPEND INBOX "24-Nov-2026 12:00:00 +0000" {${message.length}+}\r\n`),
      message,
    ])
    for (const client of [plain, i % 4 === 1 ? stored : filling])
      assert.match((await client.command(command)).at(-1)!, /^ OK/)
  }
  for (const client of [stored, filling]) client.close()

  for (const [name, commands] of Object.entries(COMMANDS)) {
    it(name, async () => {
      const through = await RawImap.login(lab.port, 'bob@lab.test', 'veskey')
      for (const client of [plain, through]) await client.command('SELECT INBOX')
      let number = name.length
      for (const command of commands) {
        // Another message each time, and the last: that is the large one.
        number = (number * 7 + 3) % all.length
        for (const which of command.includes('#') ? [number + 1, all.length] : [1]) {
          const asked = command.replace('#', String(which))
          assert.deepEqual(comparable(await through.command(asked)), comparable(await plain.command(asked)), asked)
        }
      }
      through.close()
    })
  }
  it('(end)', () => plain.close())
})
