/**
 * The whole gateway for a test file: the real daemon (guard, two workers, embedded repository) in front of the sandbox
 * provider, with an account for each of the provider's users. Stopped and removed after the file's tests.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { createTransport } from 'nodemailer'
import { type DemoGateway, GATEWAY_PORTS, type GatewayPorts, startGateway } from '../../src/cli/demo/gateway.ts'
import type { Provider } from '../../src/cli/sandbox/provider.ts'
import { freePorts } from '../guard/stage.ts'
import { LogWatch } from './log-secrets.ts'
import { LAB_USERS } from './provider.ts'

export interface LabGateway extends DemoGateway {
  /** File with the certificate that clients have to trust. */
  readonly caFile: string
  readonly directory: string
  /** The account's password at the gateway, by local part. */
  readonly passwords: Readonly<Record<string, string>>
  /** Reads the whole log at the end; it knows the passwords already. */
  readonly watch: LogWatch
}

export interface LabGatewayOptions {
  readonly workers?: number
  /** SMTP mode of the accounts. */
  readonly mode?: string
  readonly users?: readonly string[]
  /** Blocks to add; `*` is merged with the lab's own. */
  readonly configuration?: Readonly<Record<string, unknown>>
  /** Listeners besides the four of mail. */
  readonly daemons?: readonly unknown[]
  /** Told the ports when the daemon is up, before the accounts are made. */
  readonly ready?: (ports: GatewayPorts) => void
}

export async function labGateway(provider: Provider, options: LabGatewayOptions = {}): Promise<LabGateway> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-gw-'))
  const gateway = await startGateway({
    directory,
    provider,
    workers: options.workers ?? 2,
    ports: await freePorts(GATEWAY_PORTS),
    ...(options.configuration === undefined ? {} : { configuration: options.configuration }),
    ...(options.daemons === undefined ? {} : { daemons: options.daemons }),
  })
  options.ready?.(gateway.ports)
  const passwords: Record<string, string> = {}
  const watch = new LogWatch()
  for (const { password } of LAB_USERS) watch.secret(password)
  after(async () => {
    await gateway.stop()
    const log = readFileSync(gateway.logFile, 'utf8')
    rmSync(directory, { recursive: true, force: true })
    watch.assertClean(log)
  })
  const caFile = join(directory, 'ca.pem')
  writeFileSync(caFile, gateway.ca)
  for (const name of options.users ?? ['alice', 'bob']) {
    const email = `${name}@${provider.domain}`
    passwords[name] = watch.secret(await gateway.createAccount(email))
    await gateway.setProfile(email, passwords[name], profileOf(provider, name, options.mode ?? 'REJECT'))
  }
  return { ...gateway, caFile, directory, passwords, watch }
}

/** As alice, over TLS from the beginning. */
export function transportTo(
  { ports, ca, passwords }: LabGateway,
  pass = passwords.alice!,
): ReturnType<typeof createTransport> {
  const auth = { user: 'alice@lab.test', pass }
  return createTransport({ host: 'localhost', port: ports.submissions, secure: true, tls: { ca }, auth })
}

export function profileOf(provider: Provider, name: string, mode: string): unknown {
  const password = LAB_USERS.find((user) => user.name === name)?.password
  const server = (port: number) => ({ host: provider.host, port, login: name, password, tls: { level: 'high' } })
  return { imap: server(provider.ports.imap), smtp: { ...server(provider.ports.submission), mode } }
}

/** See {@link freePorts}. */
export async function freePort(): Promise<number> {
  return (await freePorts(1))[0]!
}
