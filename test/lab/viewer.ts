/**
 * The viewer for a test file: the whole gateway with its HTTP side and a spool, a repository that mails one-time links
 * into a postbox of ours, and a browser.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { Page } from 'playwright-core'
import { SMTPServer } from 'smtp-server'
import { sendMail, storedMail } from '../../src/cli/demo/mail.ts'
import { messageFile } from '../../src/net/now/spool.ts'
import { labBrowser } from './browser.ts'
import { freePort, type LabGateway, labGateway, profileOf } from './gateway.ts'
import { labProvider } from './provider.ts'

export interface LabViewer {
  /** Where the viewer is, its last slash included. */
  readonly site: string
  readonly gateway: LabGateway
  readonly newPage: () => Promise<Page>
  /** By the gateway's SMTP, sealed. */
  readonly send: (raw: string | Buffer, to?: string, from?: string) => Promise<void>
  /** File in the spool, once it is there: mail does not wait for its copy. */
  readonly spooled: (messageId: string, creator?: string) => Promise<string>
  /** Fills in the form and submits it. */
  readonly logIn: (messageId: string, user: string, password: string) => Promise<Page>
  /** The one-time link that was mailed to someone. */
  readonly onboardingLink: (to: string) => Promise<string>
  /** What lies at the provider. */
  readonly delivered: (user: string) => Promise<string>
  /** SMTP mode of an account from now on. */
  readonly setMode: (user: string, mode: string) => Promise<void>
  /** With the viewer; @returns the VESkey */
  readonly setUpVault: (email: string) => Promise<string>
}

/** A picture of the page for docs/viewer.md, where `VESMAIL_SCREENSHOTS` asks for new ones. */
export async function screenshot(page: Page, name: string): Promise<void> {
  if (process.env.VESMAIL_SCREENSHOTS === undefined) return
  await page.screenshot({ path: join(import.meta.dirname, `../../docs/viewer-${name}.png`), animations: 'disabled' })
}

export async function labViewer(mode = 'XCHG'): Promise<LabViewer> {
  const scratch = mkdtempSync(join(tmpdir(), 'vm-viewer-'))
  after(() => rmSync(scratch, { recursive: true, force: true }))
  const port = await freePort()
  const site = `https://localhost:${port}/now/`
  const postbox = await openPostbox()
  const repositoryConfig = join(scratch, 'repository.json')
  const mail = {
    smtp: `smtp://127.0.0.1:${postbox.port}`,
    from: 'vaults@lab.test',
    onboardingUrl: `${site}#email={email}&token={token}`,
  }
  writeFileSync(repositoryConfig, JSON.stringify({ mail }))
  const spool = join(scratch, 'spool')
  const provider = await labProvider()
  const now = { dir: spool, url: `${site}?msgid=` }
  const gateway = await labGateway(provider, {
    mode,
    configuration: { '*': { now, 'repository.config': repositoryConfig } },
    daemons: [{ server: 'now', host: '127.0.0.1', port, tls: { persist: true } }],
  })
  const browser = await labBrowser()
  const spooled = async (messageId: string, creator = 'alice@lab.test'): Promise<string> => {
    const file = join(spool, creator, messageFile(messageId))
    while (!existsSync(file)) await new Promise((later) => setTimeout(later, 20))
    return file
  }
  const newPage = (): Promise<Page> => browser.newPage()
  return {
    site,
    gateway,
    newPage,
    onboardingLink: postbox.link,
    spooled,
    send: async (raw, to = 'bob@lab.test', from = 'alice@lab.test') => {
      const endpoint = { host: '127.0.0.1', port: gateway.ports.submissions, secure: true, ca: gateway.ca }
      const login = { user: from, pass: gateway.passwords[from.split('@')[0]!]! }
      await sendMail(endpoint, login, { from, to }, Buffer.from(raw))
      const id = /^Message-ID: <(.*)>\r?$/m.exec(Buffer.from(raw).toString('latin1'))![1]!
      await spooled(id, from)
    },
    logIn: async (messageId, user, password) => {
      const page = await newPage()
      await page.goto(`${site}?msgid=${encodeURIComponent(messageId)}`)
      const form = page.locator('form', { has: page.getByLabel('Your VESkey') })
      await form.getByLabel('Your e-mail address').fill(user)
      await form.getByLabel('Your VESkey').fill(password)
      await form.getByRole('button', { name: 'Open the message' }).click()
      return page
    },
    setMode: (user, mode) =>
      gateway.setProfile(`${user}@lab.test`, gateway.passwords[user]!, profileOf(provider, user, mode)),
    delivered: async (user) => {
      for (;;) {
        const found = storedMail(provider.maildir(user))
        if (found !== null) return found.toString('latin1')
        await new Promise((later) => setTimeout(later, 50))
      }
    },
    setUpVault: async (email) => {
      const page = await newPage()
      await page.goto(site)
      await page.getByLabel('Your e-mail address').fill(email)
      await page.getByRole('button', { name: 'Send me the link' }).click()
      await page.goto(await postbox.link(email))
      await page.reload()
      await page.getByRole('button', { name: 'Set up my vault' }).click()
      const veskey = await page.getByLabel('VESkey: opens').inputValue()
      await page.close()
      return veskey
    },
  }
}

/** Takes all mail, without TLS and login. */
async function openPostbox() {
  const posted: string[] = []
  let arrived = (): void => {}
  const server = new SMTPServer({
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
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => new Promise<void>((resolve) => server.close(resolve)))
  return {
    port: (server.server.address() as { port: number }).port,
    link: async (to: string): Promise<string> => {
      for (;;) {
        const mail = posted.find((one) => one.includes(`To: ${to}`) && one.includes('Subject: Your VES account'))
        // Long lines of text are quoted-printable.
        const text = mail?.replace(/=\r?\n/g, '').replaceAll('=3D', '=')
        const link = text?.match(/https:\S+/)?.[0]
        if (link !== undefined) return link
        await new Promise<void>((resolve) => {
          arrived = resolve
        })
      }
    },
  }
}
