/**
 * `vesmail demo` (`npm start`): one real mail through the whole gateway, shown from three sides, with everything it
 * takes on this machine; then it stays up for any mail client. `--check` only checks, and ends.
 */

import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { messageOf } from '../base/errors.ts'
import { type DemoGateway, startGateway } from './demo/gateway.ts'
import {
  type Endpoint,
  type Login,
  readMail,
  SECRET_WORDS,
  sendMail,
  storedMail,
  withoutTrace,
  writeMail,
} from './demo/mail.ts'
import { type Stranger, watchForLinks, writeToStranger } from './demo/stranger.ts'
import { sideBySide } from './demo/views.ts'
import { type Provider, startProvider } from './sandbox/provider.ts'

const DOMAIN = 'demo.test'
const ALICE = `alice@${DOMAIN}`
const BOB = `bob@${DOMAIN}`
/** Has a mailbox, but no vault and no gateway. */
const CAROL = `carol@${DOMAIN}`
const DELIVERY_MS = 15_000

export function demoCommand(): Command {
  return new Command('demo')
    .description('one real mail through the whole gateway on this machine, shown from three sides; then stay up')
    .option('--check', 'check and end: exit 0 if all holds, 1 if not')
    .action(async ({ check }: { check?: boolean }) => {
      process.exitCode = await demo(check === true)
    })
}

/** @returns exit code */
async function demo(checkOnly: boolean): Promise<number> {
  const say = (text: string): void => void process.stdout.write(`${text}\n`)
  if (process.getuid?.() !== 0) {
    process.stderr.write('vesmail: the demo runs its own Dovecot and Postfix, which need root; run it as root\n')
    return 1
  }
  const directory = mkdtempSync(join(tmpdir(), 'vesmail-'))
  // The mail servers' own users have to come through.
  chmodSync(directory, 0o755)
  let provider: Provider | null = null
  let gateway: DemoGateway | null = null
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
  })
  try {
    say('Starting a mail provider on loopback (Dovecot and Postfix) ...')
    provider = await startProvider({ directory: join(directory, 'p'), domain: DOMAIN, users: providerUsers() })
    say('Starting the gateway: guard, two workers, key repository ...')
    const viewerMail = `smtp://${provider.host}:${provider.ports.mx}?ignoreTLS=true`
    gateway = await startGateway({ directory, provider, workers: 2, viewerMail })
    say('Creating the accounts of alice and bob ...')
    const alice = { user: ALICE, pass: await account(gateway, provider, 'alice') }
    const bob = { user: BOB, pass: await account(gateway, provider, 'bob') }
    say('Alice sends a mail to Bob, who reads it ...\n')
    const stranger = await writeToStranger(submission(gateway), alice, {
      address: CAROL,
      maildir: provider.maildir('carol'),
      viewer: gateway.viewer,
    })
    const checks = [...(await exchange(gateway, provider, alice, bob, say)), ...stranger.checks]
    for (const [what, holds] of checks) say(`${holds ? 'ok  ' : 'FAIL'} ${what}`)
    const failed = checks.filter(([, holds]) => !holds).length
    say(`check: ${checks.length - failed} passed, ${failed} failed`)
    if (checkOnly || failed > 0) return failed === 0 ? 0 : 1
    say(`\n${settings(gateway, alice.pass, bob.pass, stranger)}`)
    const unwatch = watchForLinks(provider.maildir('carol'), gateway.viewer, (link) => {
      say(`\nA mail for ${CAROL} came, with this link:\n  ${link}`)
    })
    await Promise.race([stopped, gateway.ended])
    unwatch()
    say('\nStopping ...')
    return 0
  } catch (error) {
    process.stderr.write(`vesmail: demo: ${messageOf(error)}\n`)
    if (checkOnly) say('check: 0 passed, 1 failed')
    return 1
  } finally {
    await gateway?.stop()
    await provider?.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

const providerPassword = (name: string): string => `${name}-at-the-provider`

function providerUsers() {
  return ['alice', 'bob', 'carol'].map((name) => ({ name, password: providerPassword(name) }))
}

async function account(gateway: DemoGateway, provider: Provider, name: string): Promise<string> {
  const email = `${name}@${DOMAIN}`
  const password = await gateway.createAccount(email)
  const server = (port: number) => ({
    host: provider.host,
    port,
    login: email,
    password: providerPassword(name),
    tls: { level: 'high' },
  })
  await gateway.setProfile(email, password, {
    imap: server(provider.ports.imap),
    smtp: { ...server(provider.ports.submission), mode: 'XCHG' },
  })
  return password
}

function submission({ ports, ca }: DemoGateway): Endpoint {
  return { host: '127.0.0.1', port: ports.submissions, secure: true, ca }
}

async function exchange(
  gateway: DemoGateway,
  provider: Provider,
  alice: Login,
  bob: Login,
  say: (text: string) => void,
): Promise<[string, boolean][]> {
  const { ports, ca } = gateway
  const endpoint = (port: number, secure: boolean): Endpoint => ({ host: '127.0.0.1', port, secure, ca })
  const written = await writeMail(ALICE, BOB)
  const reply = await sendMail(endpoint(ports.submission, false), alice, { from: ALICE, to: BOB }, written)
  const stored = await delivered(provider)
  const read = await readMail(endpoint(ports.imap, false), bob)
  const readTls = await readMail(endpoint(ports.imaps, true), bob)
  const again = await sendMail(
    endpoint(ports.submissions, true),
    bob,
    { from: BOB, to: ALICE },
    await writeMail(BOB, ALICE),
  )
  if (stored === null || read === null) throw new Error('the mail did not arrive')
  const got = withoutTrace(read)
  const views = [
    { title: 'What Alice wrote', text: written.toString('latin1') },
    { title: 'What the provider stores', text: withoutTrace(stored).toString('latin1') },
    { title: "What Bob's client gets", text: got.toString('latin1') },
  ]
  say(`${sideBySide(views, process.stdout.columns ?? 140)}\n`)
  const storedText = stored.toString('latin1')
  return [
    [`the gateway took the mail: ${reply.replaceAll(/[^\x20-\x7e]+/g, ' ')}`, reply.startsWith('250')],
    ['the provider stores it sealed', storedText.includes('X-VESmail-ID:')],
    [
      'nothing of subject, text, HTML or attachment can be read there',
      !SECRET_WORDS.some((word) => decodedAll(storedText).some((text) => text.includes(word))),
    ],
    [
      "what Bob's client gets, trace headers in front set aside, is what Alice wrote, byte for byte",
      got.equals(written),
    ],
    ['the same over implicit TLS', readTls !== null && withoutTrace(readTls).equals(written)],
    ['submission over implicit TLS works too', again.startsWith('250')],
  ]
}

/** As it stands, and each run of base64 in it decoded: plaintext must not hide behind a transfer encoding. */
function decodedAll(text: string): string[] {
  const runs = text.match(/(?:[A-Za-z0-9+/]{20,}={0,2}[ \t]*\r?\n?)+/g) ?? []
  return [text, ...runs.map((run) => Buffer.from(run, 'base64').toString('latin1'))]
}

async function delivered(provider: Provider): Promise<Buffer | null> {
  const until = performance.now() + DELIVERY_MS
  for (;;) {
    const mail = storedMail(provider.maildir('bob'))
    if (mail !== null || performance.now() > until) return mail
    await new Promise((later) => setTimeout(later, 50))
  }
}

function settings(
  { ports, api, viewer, configFile, logFile, pid }: DemoGateway,
  alice: string,
  bob: string,
  { link }: Stranger,
): string {
  return `The gateway stays up. Type this into any mail client (its certificate is self-signed: accept it):

  IMAP server    127.0.0.1   port ${ports.imap} with STARTTLS, or ${ports.imaps} with TLS
  SMTP server    127.0.0.1   port ${ports.submission} with STARTTLS, or ${ports.submissions} with TLS
  account        ${ALICE}   password ${alice}
  account        ${BOB}     password ${bob}

  Alice also wrote to ${CAROL}, who has neither vault nor gateway. Read it as she would, in a browser:

  message        ${link}
  a vault for it asked for there with ${CAROL}; the link that is then mailed to her is shown here

  viewer         ${viewer}
  key repository ${api}
  configuration  ${configFile}
  log            ${logFile}
  restart        kill -HUP ${pid}   (nobody notices)

Ctrl-C ends it and removes everything.`
}
