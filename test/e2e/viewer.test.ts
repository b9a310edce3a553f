/**
 * The instant viewer in a real browser (Debian's Chromium), through the real daemon: mail sealed by the gateway's SMTP,
 * taken from its spool, opened on the page.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { SMTPServer } from 'smtp-server'
import { sendMail, storedMail } from '../../src/cli/demo/mail.ts'
import { labBrowser } from '../lab/browser.ts'
import { freePort, labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

const scratch = mkdtempSync(join(tmpdir(), 'vm-viewer-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const port = await freePort()
const site = `https://localhost:${port}/now/`

/** Where the repository's own mail goes. */
const posted: string[] = []
let arrived = (): void => {}
const postbox = new SMTPServer({
  disabledCommands: ['STARTTLS', 'AUTH'],
  logger: false,
  onData: (stream, _session, done) => {
    const parts: Buffer[] = []
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('end', () => {
      posted.push(Buffer.concat(parts).toString())
      arrived()
      done()
    })
  },
})
await new Promise<void>((resolve) => postbox.listen(0, '127.0.0.1', resolve))
after(() => new Promise<void>((resolve) => postbox.close(resolve)))
const repositoryConfig = join(scratch, 'repository.json')
writeFileSync(
  repositoryConfig,
  JSON.stringify({
    mail: {
      smtp: `smtp://127.0.0.1:${(postbox.server.address() as { port: number }).port}`,
      from: 'vaults@lab.test',
      onboardingUrl: `${site}#email={email}&token={token}`,
    },
  }),
)

const provider = await labProvider()
const gateway = await labGateway(provider, {
  mode: 'XCHG',
  configuration: {
    '*': { now: { dir: join(scratch, 'spool'), url: `${site}?msgid=` }, 'repository.config': repositoryConfig },
  },
  daemons: [{ server: 'now', host: '127.0.0.1', port, tls: { persist: true } }],
})
const browser = await labBrowser()

async function send(raw: string | Buffer, to = 'bob@lab.test'): Promise<void> {
  const endpoint = { host: '127.0.0.1', port: gateway.ports.submissions, secure: true, ca: gateway.ca }
  const login = { user: 'alice@lab.test', pass: gateway.passwords.alice! }
  await sendMail(endpoint, login, { from: 'alice@lab.test', to }, Buffer.from(raw))
}

async function logIn(id: string, user: string, password: string) {
  const page = await browser.newPage()
  await page.goto(`${site}?msgid=${encodeURIComponent(id)}`)
  const form = page.locator('form', { has: page.getByLabel('Your VESkey') })
  await form.getByLabel('Your e-mail address').fill(user)
  await form.getByLabel('Your VESkey').fill(password)
  await form.getByRole('button', { name: 'Open the message' }).click()
  return page
}

test('a text mail is opened in the browser with the VESkey', async () => {
  await send(
    'From: Alice <alice@lab.test>\r\nTo: bob@lab.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n' +
      'Message-ID: <text-1@lab.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nmeet at dawn — heron\r\n',
  )
  const page = await logIn('text-1@lab.test', 'bob@lab.test', gateway.passwords.bob!)
  await page.getByRole('heading', { name: 'Grüße' }).waitFor()
  assert.match(await page.locator('.text').innerText(), /meet at dawn — heron/)
  await page.close()
})

/** The link in the newest mail of the repository to someone. */
async function onboardingLink(to: string): Promise<string> {
  for (;;) {
    const mail = posted.find((one) => one.includes(`To: ${to}`) && /^Subject: Your VES account/m.test(one))
    // Long lines of text are quoted-printable.
    const link = mail
      ?.replace(/=\r?\n/g, '')
      .replaceAll('=3D', '=')
      .match(/https:\S+/)?.[0]
    if (link !== undefined) return link
    await new Promise<void>((resolve) => {
      arrived = resolve
    })
  }
}

async function delivered(user: string): Promise<string> {
  for (;;) {
    const mail = storedMail(provider.maildir(user))
    if (mail !== null) return mail.toString('latin1')
    await new Promise((later) => setTimeout(later, 50))
  }
}

test('someone without a vault: link of the banner, vault set up, mail read, attachment saved byte for byte', async () => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) % 256))
  const base64 = content.toString('base64').replace(/.{76}/g, '$&\r\n')
  await send(
    'From: Alice <alice@lab.test>\r\nTo: Carol <carol@lab.test>\r\nSubject: The drawings\r\n' +
      'Message-ID: <stranger-1@lab.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n' +
      'Content-Type: multipart/mixed; boundary="b1"\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nAs promised: kingfisher.\r\n' +
      '--b1\r\nContent-Type: application/octet-stream; name="plan 1.bin"\r\nContent-Transfer-Encoding: base64\r\n' +
      `Content-Disposition: attachment; filename="plan 1.bin"\r\n\r\n${base64}\r\n--b1--\r\n`,
    'carol@lab.test',
  )
  const stored = await delivered('carol')
  assert.doesNotMatch(stored, /kingfisher/)
  const banner = stored.match(/https:\/\/localhost:\d+\/now\/\?msgid=[\w.@%-]+/)?.[0]
  assert.ok(banner !== undefined, 'the banner has the link')

  const page = await browser.newPage()
  await page.goto(banner)
  const card = page.getByRole('region', { name: 'You have no vault yet?' })
  await card.getByLabel('Your e-mail address').fill('carol@lab.test')
  await card.getByRole('button', { name: 'Send me the link' }).click()
  await card.getByText('a mail with a link is on its way').waitFor()

  // Another window, as a mail program opens it.
  const second = await browser.newPage()
  await second.goto(await onboardingLink('carol@lab.test'))
  await second.getByRole('button', { name: 'Set up my vault' }).click()
  await second.getByRole('heading', { name: 'Your vault is ready' }).waitFor()
  assert.doesNotMatch(second.url(), /token/)
  const veskey = await second.getByLabel('VESkey: opens').inputValue()
  assert.match(veskey, /^\w{32}$/)
  await second.getByLabel('I have kept both').check()
  await second.getByRole('button', { name: 'Open the message' }).click()
  await second.getByRole('heading', { name: 'The drawings' }).waitFor()
  assert.match(await second.locator('.text').innerText(), /As promised: kingfisher\./)
  const [download] = await Promise.all([
    second.waitForEvent('download'),
    second.getByRole('button', { name: 'Save plan 1.bin' }).click(),
  ])
  assert.equal(download.suggestedFilename(), 'plan 1.bin')
  assert.ok(readFileSync(await download.path()).equals(content))
  // The vault is a real one: it opens the message anew, by its VESkey.
  const again = await logIn('stranger-1@lab.test', 'carol@lab.test', veskey)
  await again.getByRole('heading', { name: 'The drawings' }).waitFor()
  await Promise.all([page, second, again].map((one) => one.close()))
})
