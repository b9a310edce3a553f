import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { simpleParser } from 'mailparser'
import { SMTPServer } from 'smtp-server'
import { silentLog } from '../../../src/base/log.ts'
import { Secret } from '../../../src/base/secret.ts'
import { filled, parseTemplate, SmtpMailer } from '../../../src/ves/repository/mailer.ts'
import { type Any, type Harness, inMemory, newKey } from './harness.ts'

interface Mail {
  readonly to: string
  readonly subject: string
  readonly text: string
}

/** A repository whose mails arrive at a real SMTP server. */
async function withMail(
  use: (harness: Harness, mails: () => Promise<readonly Mail[]>) => Promise<void>,
  takes: () => boolean = () => true,
): Promise<void> {
  const mails: Mail[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onMailFrom: (_address, _session, done) => done(takes() ? null : new Error('not now')),
    onData: (stream, session, done) => {
      simpleParser(stream, {}).then((mail) => {
        mails.push({
          to: session.envelope.rcptTo.map((one) => one.address).join(),
          subject: mail.subject ?? '',
          text: mail.text ?? '',
        })
        done()
      }, done)
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const { port } = server.server.address() as AddressInfo
  const mailer = new SmtpMailer({
    smtp: new Secret(`smtp://127.0.0.1:${port}`),
    from: 'keys@lab.test',
    onboardingUrl: 'https://keys.lab.test/#{token}/{email}',
    log: silentLog,
  })
  const harness = await inMemory({}, mailer)
  // Answers do not wait for mail; a test does, by closing the mailer once.
  const sent = async (): Promise<readonly Mail[]> => {
    await mailer.idle()
    return mails
  }
  try {
    await use(harness, sent)
  } finally {
    await harness.close()
    await mailer.close()
    await new Promise<void>((resolve) => server.close(resolve))
  }
}

test('an address is proved by a mailed one-time token, which makes the account', async () => {
  await withMail(async (h, mails) => {
    assert.deepEqual(await h.ok('POST', 'onboarding', { body: { email: 'New@Lab.test' } }), {})
    const [mail] = await mails()
    assert.equal(mail?.to, 'new@lab.test')
    const token = /#([^/]+)\/new%40lab\.test/.exec(mail!.text)![1]!
    const vault = {
      type: 'secondary',
      ...newKey().pems,
      externals: [{ domain: 'vesmail', externalId: 'other@lab.test' }],
    }
    const keys = [{ type: 'current', ...newKey().pems }, vault]
    // Not for another address, and a try that fails does not use the token up.
    await h.refused(403, 'POST', 'accounts', { body: { token, email: 'other@lab.test', vaultKeys: keys } })
    await h.refused(403, 'POST', 'accounts', { body: { token, vaultKeys: keys } })
    await h.refused(401, 'POST', 'accounts', { body: { email: 'new@lab.test', vaultKeys: keys } })
    const account = await h.account('new@lab.test', 'P-256', token)
    assert.equal((await h.ok('GET', 'me', { token: account.token })).email, 'new@lab.test')
    await h.refused(403, 'POST', 'accounts', { body: { token, vaultKeys: keys } })
    // Has an account: the same answer, and no mail.
    assert.deepEqual(await h.ok('POST', 'onboarding', { body: { email: 'new@lab.test' } }), {})
    assert.equal((await mails()).length, 1)
  })
})

test('a token is void after an hour', async () => {
  await withMail(async (h, mails) => {
    await h.ok('POST', 'onboarding', { body: { email: 'late@lab.test' } })
    const token = /#([^/]+)\//.exec((await mails())[0]!.text)![1]!
    h.nowMs += 3600_000
    await h.refused(403, 'POST', 'accounts', { body: { token, vaultKeys: [] } })
  })
})

test('an address gets three mails a day, and one peer causes ten an hour, with the same answer always', async () => {
  await withMail(async (h, mails) => {
    for (let n = 0; n < 5; n++)
      assert.deepEqual(await h.ok('POST', 'onboarding', { body: { email: 'a@lab.test' } }), {})
    assert.equal((await mails()).length, 3)
    for (let n = 0; n < 20; n++)
      await h.ok('POST', 'onboarding', { body: { email: `b${n}@lab.test` }, address: '192.0.2.1' })
    assert.equal((await mails()).length, 3 + 10)
    h.nowMs += 86_400_001
    await h.ok('POST', 'onboarding', { body: { email: 'a@lab.test' } })
    assert.equal((await mails()).length, 14)
  })
})

test('a mail that does not go out is none of the three a day', async () => {
  let takes = false
  await withMail(
    async (h, mails) => {
      const ask = async (): Promise<number> => {
        // Notes are told apart by their time.
        h.nowMs++
        assert.deepEqual(await h.ok('POST', 'onboarding', { body: { email: 'a@lab.test' } }), {})
        return (await mails()).length
      }
      for (let n = 0; n < 4; n++) assert.equal(await ask(), 0)
      takes = true
      assert.deepEqual([await ask(), await ask()], [1, 2])
      takes = false
      assert.equal(await ask(), 2)
      takes = true
      assert.deepEqual([await ask(), await ask()], [3, 3])
    },
    () => takes,
  )
})

test('who is written to without an account hears of it once a day', async () => {
  await withMail(async (h, mails) => {
    const alice = await h.account('alice@lab.test')
    for (let n = 0; n < 2; n++) {
      await h.ok('POST', 'vaultKeys', { token: alice.token, body: h.temp('newbie@lab.test', [alice.vault]).body })
    }
    const sent = await mails()
    assert.deepEqual([sent.length, sent[0]!.to, sent[0]!.text.includes('alice@lab.test')], [1, 'newbie@lab.test', true])
    // One sender causes so many an hour; the keys are made all the same.
    for (let n = 0; n < 80; n++) {
      await h.ok('POST', 'vaultKeys', { token: alice.token, body: h.temp(`n${n}@lab.test`, [alice.vault]).body })
    }
    assert.equal((await mails()).length, 60)
    const bob = await h.account('bob@lab.test')
    await h.ok('POST', 'vaultKeys', { token: alice.token, body: h.temp(bob.email, [alice.vault]).body })
    assert.equal((await mails()).length, 60)
  })
})

test('an address that would be more than one, or a header, is no address', async () => {
  await withMail(async (h, mails) => {
    for (const email of [
      'a@x,b@y',
      'a@x\r\nBcc: b@y',
      '<a@x>',
      'a b@x',
      '@x',
      'a@',
      'a',
      '',
      5,
      null,
      'a@x;b@y',
      'a@b@c',
    ]) {
      await h.refused(400, 'POST', 'onboarding', { body: { email } as Any })
    }
    assert.equal((await mails()).length, 0)
  })
})

test('without a mail server onboarding says so', async () => {
  const h = await inMemory()
  assert.equal(await h.refused(501, 'POST', 'onboarding', { body: { email: 'a@x.org' } }), 'Unsupported')
  await h.close()
})

test('templates: a subject, an empty line, a text with names in braces', () => {
  assert.deepEqual(parseTemplate('Subject: Hi {email}\n\nText\nmore\n'), {
    subject: 'Hi {email}',
    text: 'Text\nmore\n',
  })
  for (const bad of ['', 'Hi\n\nText', 'Subject: a\nText', 'Subject: a\n\n']) assert.equal(parseTemplate(bad), null)
  assert.equal(filled('{a} {b} {toString}', { a: '{b}' }), '{b} {b} {toString}')
})
