/**
 * SMTP smuggling against a real Postfix, with and without its own defence: whatever a client hides behind what some
 * server takes for an end of data, a message is one message. And the control: sent straight to the tolerant Postfix,
 * some of the same octets do become two.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import type { SealMode } from '../../src/engine/account.ts'
import { labProvider } from '../lab/provider.ts'
import { authShim, RawClient, type SmtpLab, smtpLab } from './smtp-lab.ts'

/** What stands for CRLF.CRLF in the published variants. */
const VARIANTS = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\n.\r',
  '\r.\n',
  '\r\r\n.\r\r\n',
  '\r\n\0.\r\n',
  '\r\n.\0\r\n',
  '\r\n. \r\n',
  '\n\n.\n\n',
] as const

const SMUGGLED = 'MAIL FROM:<admin@lab.test>\r\nRCPT TO:<carol@lab.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil'

const provider = await labProvider()
const ports = {
  tolerant: await authShim(provider.ports.mxTolerant),
  strict: await authShim(provider.ports.mxStrict),
}

function mails(name: string): Buffer[] {
  return ['new', 'cur'].flatMap((folder) => {
    const directory = join(provider.maildir(name), folder)
    return existsSync(directory) ? readdirSync(directory).map((file) => readFileSync(join(directory, file))) : []
  })
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (holds()) return
    await new Promise((later) => setTimeout(later, 50))
  }
  assert.fail(`never: ${what}`)
}

/** The hidden part in a body, and in the preamble of a multipart, which sealing leaves in plain. */
const MESSAGES: Record<string, (hidden: string) => string> = {
  body: (hidden) => `Subject: one\r\n\r\nfirst${hidden}\r\n`,
  preamble: (hidden) =>
    `Subject: one\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble${hidden}\r\n--b\r\n\r\ntext\r\n--b--\r\n`,
}

for (const [name, mode] of [
  ['tolerant', 'PLAIN'],
  ['tolerant', 'REJECT'],
  ['strict', 'PLAIN'],
  ['strict', 'REJECT'],
] as const satisfies ['tolerant' | 'strict', SealMode][]) {
  test(`${name} Postfix, ${mode}: one message is one message`, async () => {
    const lab: SmtpLab = await smtpLab({
      provider: { port: ports[name], tls: { level: 'none', persist: false } },
      mode,
    })
    const before_ = mails('bob').length
    const carol = mails('carol').length
    let sent = 0
    for (const message of Object.values(MESSAGES)) {
      for (const variant of VARIANTS) {
        const client = await new RawClient(lab.port).login()
        await client.envelope('alice@lab.test', 'bob@lab.test')
        const reply = await client.say(`${message(variant + SMUGGLED)}.\r\n`)
        // A server with a defence may refuse what is in it; it must not be told of a second message.
        if (reply.startsWith('250')) sent++
        else assert.match(reply, /^5\d\d/, JSON.stringify(variant))
        assert(!client.closed || !reply.startsWith('250'))
        client.close()
      }
    }
    assert(sent >= VARIANTS.length, `${sent} were taken`)
    await until('all delivered', () => mails('bob').length >= before_ + sent)
    // What was smuggled would have been queued before these.
    const sentinel = await new RawClient(lab.port).login()
    await sentinel.envelope('alice@lab.test', 'carol@lab.test')
    await sentinel.say('Subject: sentinel\r\n\r\nx\r\n.\r\n')
    sentinel.close()
    await until('the sentinel', () => mails('carol').length > carol)
    assert.equal(mails('bob').length, before_ + sent)
    assert.equal(mails('carol').length, carol + 1)
  })
}

test('control: straight to the tolerant Postfix the same octets become two messages', async () => {
  const carol = mails('carol').length
  const client = new RawClient(ports.tolerant)
  await client.reply()
  await client.say('EHLO client.lab.test\r\n')
  await client.say('AUTH PLAIN AA==\r\n')
  await client.envelope('alice@lab.test', 'bob@lab.test')
  await client.say(`${MESSAGES.body!(`\n.\n${SMUGGLED}`)}.\r\n`)
  await until('the smuggled one', () => mails('carol').length > carol)
  client.close()
})
