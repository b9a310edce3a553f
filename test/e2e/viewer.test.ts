/**
 * The instant viewer in a real browser (Debian's Chromium), through the real daemon: mail sealed by the gateway's SMTP,
 * taken from its spool, opened on the page.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { sendMail } from '../../src/cli/demo/mail.ts'
import { labBrowser } from '../lab/browser.ts'
import { freePort, labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

const scratch = mkdtempSync(join(tmpdir(), 'vm-viewer-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const port = await freePort()
const site = `https://localhost:${port}/now/`
const provider = await labProvider()
const gateway = await labGateway(provider, {
  users: ['alice', 'bob', 'carol'],
  mode: 'XCHG',
  configuration: { '*': { now: { dir: join(scratch, 'spool'), url: `${site}?msgid=` } } },
  daemons: [{ server: 'now', host: '127.0.0.1', port, tls: { persist: true } }],
})
const browser = await labBrowser()

async function send(raw: string): Promise<void> {
  const endpoint = { host: '127.0.0.1', port: gateway.ports.submissions, secure: true, ca: gateway.ca }
  const login = { user: 'alice@lab.test', pass: gateway.passwords.alice! }
  await sendMail(endpoint, login, { from: 'alice@lab.test', to: 'bob@lab.test' }, Buffer.from(raw))
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
