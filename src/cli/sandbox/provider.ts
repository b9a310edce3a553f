/**
 * The sandbox provider: a real Dovecot and a real Postfix on loopback, with a configuration and folders of their own,
 * for the demo and the tests. No system service, nothing under /etc or /var is read or written but the programs; mail
 * to any other domain is refused. Needs root, because both servers drop privileges themselves.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { selfSigned } from '../../net/certificates.ts'
import { dovecotConfiguration } from './dovecot.ts'
import { postfixMain, postfixMaster } from './postfix.ts'
import { answers, type Server, startServer } from './server.ts'

/** Owner of the mailboxes: a number no Debian account has. */
const MAIL_UID = 20_000

export interface ProviderUser {
  /** Local part; logs in by it or by the whole address. */
  readonly name: string
  readonly password: string
}

export interface ProviderOptions {
  /** Everything is written below it; short (UNIX socket paths end at 107 octets) and reachable for all users. */
  readonly directory: string
  readonly domain: string
  readonly users: readonly ProviderUser[]
  /** Lines to add to Postfix's main.cf. */
  readonly postfixSettings?: readonly string[]
}

const PORT_NAMES = [
  'imap', // STARTTLS offered
  'imaps',
  'lmtp',
  'sasl', // Dovecot's answers to Postfix
  'submission', // Postfix, STARTTLS offered, AUTH required
  'submissions',
  'mx', // Postfix, no AUTH, for the domain only
  'mxTolerant', // takes bare LF for an end of data: a victim of smuggling
  'mxStrict', // refuses bare LF
  'dovecotSubmission', // relays to mx; offers CHUNKING, BURL, …
] as const

export type ProviderPorts = Readonly<Record<(typeof PORT_NAMES)[number], number>>

export interface ProviderPlace {
  readonly directory: string
  readonly domain: string
  readonly ports: ProviderPorts
  readonly certFile: string
  readonly keyFile: string
  readonly passwdFile: string
  readonly mailUid: number
}

export interface Provider {
  readonly host: '127.0.0.1'
  readonly domain: string
  readonly ports: ProviderPorts
  /** Self-signed: also what a client has to trust. */
  readonly certFile: string
  /** Where Dovecot keeps a user's Maildir. */
  readonly maildir: (name: string) => string
  stop(): Promise<void>
}

/** @throws Error that quotes a server's log where it does not come up */
export async function startProvider(options: ProviderOptions): Promise<Provider> {
  const { directory, domain, users, postfixSettings = [] } = options
  const place: ProviderPlace = {
    directory,
    domain,
    ports: await freePorts(),
    certFile: join(directory, 'cert.pem'),
    keyFile: join(directory, 'key.pem'),
    passwdFile: join(directory, 'passwd'),
    mailUid: MAIL_UID,
  }
  const maildir = (name: string): string => join(directory, 'mail', name, 'Maildir')
  writeFiles(place, users, postfixSettings)
  const servers: Server[] = []
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()))
  }
  try {
    servers.push(
      startServer('dovecot', ['-F', '-c', join(directory, 'dovecot.conf')], join(directory, 'log', 'dovecot')),
    )
    const postfix = join(directory, 'postfix')
    const check = spawnSync('postfix', ['-c', join(postfix, 'etc'), 'check'], { encoding: 'utf8' })
    if (check.status !== 0) throw new Error(`postfix check: ${check.stdout}${check.stderr}`)
    const master = ['-s', '-c', join(postfix, 'etc')]
    servers.push(startServer('/usr/lib/postfix/sbin/master', master, join(directory, 'log', 'postfix')))
    const { ports } = place
    for (const port of [ports.imap, ports.lmtp, ports.sasl, ports.dovecotSubmission]) await answers(servers[0]!, port)
    for (const port of [ports.mx, ports.submission, ports.submissions]) await answers(servers[1]!, port)
  } catch (error) {
    await stop()
    throw error
  }
  return { host: '127.0.0.1', domain, ports: place.ports, certFile: place.certFile, maildir, stop }
}

function writeFiles(place: ProviderPlace, users: readonly ProviderUser[], postfixSettings: readonly string[]): void {
  const { directory, domain } = place
  for (const [folder, mode] of [
    ['', 0o755],
    ['log', 0o1777],
    ['mail', 0o755],
    ['postfix/etc', 0o755],
    ['postfix/queue', 0o755],
    ['postfix/data', 0o755],
  ] as const) {
    mkdirSync(join(directory, folder), { recursive: true })
    chmodSync(join(directory, folder), mode)
  }
  chmodSync(join(directory, 'postfix'), 0o755)
  const { cert, pkey } = selfSigned(['localhost', `mail.${domain}`, '127.0.0.1'], Date.now())
  writeFileSync(place.certFile, cert)
  writeFileSync(place.keyFile, pkey, { mode: 0o600 })
  for (const { name } of users) {
    mkdirSync(join(directory, 'mail', name), { recursive: true })
    chownSync(join(directory, 'mail', name), MAIL_UID, MAIL_UID)
  }
  const passwd = users.flatMap(({ name, password }) =>
    [name, `${name}@${domain}`].map((login) => {
      return `${login}:{PLAIN}${password}:${MAIL_UID}:${MAIL_UID}::${join(directory, 'mail', name)}::\n`
    }),
  )
  writeFileSync(place.passwdFile, passwd.join(''))
  writeFileSync(join(directory, 'dovecot.conf'), dovecotConfiguration(place))
  writeFileSync(
    join(directory, 'postfix/etc/main.cf'),
    postfixMain(place) + postfixSettings.map((line) => `${line}\n`).join(''),
  )
  writeFileSync(join(directory, 'postfix/etc/master.cf'), postfixMaster(place))
  // Postfix wants its data folder to be its own user's.
  const { uid, gid } = userOf('postfix')
  chownSync(join(directory, 'postfix/data'), uid, gid)
}

function userOf(name: string): { uid: number; gid: number } {
  const entry = spawnSync('getent', ['passwd', name], { encoding: 'utf8' }).stdout.split(':')
  if (entry.length < 4) throw new Error(`there is no user ${name}: is Postfix installed?`)
  return { uid: Number(entry[2]), gid: Number(entry[3]) }
}

/** All held at once before they are let go, so that no two are the same. */
async function freePorts(): Promise<ProviderPorts> {
  const holders = await Promise.all(
    PORT_NAMES.map(
      (name) =>
        new Promise<{ name: string; port: number; close: () => Promise<void> }>((resolve, reject) => {
          const server = createServer().once('error', reject)
          server.listen(0, '127.0.0.1', () => {
            const { port } = server.address() as { port: number }
            resolve({ name, port, close: () => new Promise((closed) => server.close(() => closed())) })
          })
        }),
    ),
  )
  await Promise.all(holders.map((holder) => holder.close()))
  return Object.fromEntries(holders.map(({ name, port }) => [name, port])) as unknown as ProviderPorts
}
