/**
 * Messages whose lines end oddly, through the whole gateway (two workers, their shared size memory) and a real Dovecot,
 * whose rule for such lines is the one to follow: what it says of the plain twin is what the gateway says, before the
 * message was read and after, in each session, with the sizes remembered from an APPEND, learned by reading, or unknown.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Address, ImapConnection, isOk, type Reply } from '../../scripts/oracle/imap-connection.ts'
import { oddMessages } from '../engine/imap/odd-messages.ts'
import { labGateway } from '../lab/gateway.ts'
import { LAB_USERS, labProvider } from '../lab/provider.ts'

const provider = await labProvider()
/** To it, they are large. */
const gateway = await labGateway(provider, { users: ['alice'], configuration: { '*': { maxbuf: 16_384 } } })

const messages = [...oddMessages(500)].filter(([name]) => !/early|at the end|CR CR CR LF/.test(name))
const SIZES = '(UID RFC822.SIZE BODYSTRUCTURE)'

async function append(connection: ImapConnection, mailbox: string, message: Buffer): Promise<void> {
  const reply = await connection.command(`APPEND ${mailbox} {${message.length}}`.replace('}', '+}\r\n'), message)
  assert.ok(isOk(reply), String(reply.responses.at(-1)))
}

/** Without what the server says of its own work. */
function answers({ responses }: Reply): string {
  return Buffer.concat(responses.slice(0, -1)).toString('latin1')
}

describe('messages with odd line ends', () => {
  it('are told of as the server tells of their plain twins', async () => {
    const password = LAB_USERS.find((user) => user.name === 'alice')!.password
    const direct: Address = { host: '127.0.0.1', port: provider.ports.imap, user: 'alice', password }
    const through: Address = {
      host: '127.0.0.1',
      port: gateway.ports.imap,
      user: `alice@${provider.domain}`,
      password: gateway.passwords.alice!,
    }
    const plain = await ImapConnection.open(direct)
    const writer = await ImapConnection.open(through)
    for (const mailbox of ['plain', 'written', 'copied']) await plain.command(`CREATE ${mailbox}`)
    for (const [, message] of messages) {
      await append(plain, 'plain', message)
      await append(writer, 'written', message)
    }
    // Of copies that were not made through the gateway nobody remembers anything.
    await plain.command('SELECT written')
    assert.ok(isOk(await plain.command('COPY 1:* copied')))
    await plain.command('EXAMINE plain')
    const set = `1:${messages.length}`
    const expected = {
      sizes: answers(await plain.command(`FETCH ${set} ${SIZES}`)),
      bodies: answers(await plain.command(`FETCH ${set} BODY.PEEK[]`)),
      parts: answers(await plain.command(`FETCH ${set} (BODY.PEEK[1] BODY.PEEK[2]<100.50000>)`)),
    }
    for (const mailbox of ['written', 'copied']) {
      const ask = async (reader: ImapConnection, what: keyof typeof expected, items: string): Promise<void> => {
        for (const [i, [message]] of messages.entries()) {
          const line = new RegExp(`^\\* ${i + 1} FETCH[^]*?(?=^\\* ${i + 2} FETCH|$(?![^]))`, 'm')
          const got = answers(await reader.command(`FETCH ${i + 1} ${items}`))
          assert.equal(got, line.exec(expected[what])?.[0], `${mailbox}: ${message}: ${items}`)
        }
      }
      // Several at a time, so that each worker has some.
      const readers = await Promise.all([1, 2, 3].map(() => ImapConnection.open(through)))
      for (const reader of readers) {
        assert.ok(isOk(await reader.command(`EXAMINE ${mailbox}`)))
        await ask(reader, 'sizes', SIZES)
        await ask(reader, 'bodies', 'BODY.PEEK[]')
        await ask(reader, 'parts', '(BODY.PEEK[1] BODY.PEEK[2]<100.50000>)')
        await ask(reader, 'sizes', SIZES)
        await reader.close()
      }
    }
    for (const connection of [plain, writer]) await connection.close()
  })
})
