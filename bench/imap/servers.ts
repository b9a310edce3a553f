/**
 * What the IMAP bench talks to: the sandbox's Dovecot, the real daemon with one worker, and one account that reaches the
 * provider in two ways, straight and (profile `counted`) through a counting relay, which would cost time where time counts.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Address } from '../../scripts/oracle/imap-connection.ts'
import { CountingRelay } from '../../scripts/oracle/relay.ts'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { startProvider } from '../../src/cli/sandbox/provider.ts'

const DOMAIN = 'bench.test'

export interface BenchServers {
  /** The plain twin's mailbox, past us. */
  readonly direct: Address
  readonly gateway: Address
  /** The same mailbox, its traffic counted. */
  readonly counted: Address
  /** The sealed mailbox as the provider has it. */
  readonly sealed: Address
  readonly relay: CountingRelay
  /** Where the provider keeps a user's mail. */
  readonly maildir: (user: string) => string
  /** The gateway's guard. */
  readonly pid: number
  readonly logFile: string
  stop(): Promise<void>
}

export async function startServers(): Promise<BenchServers> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-imap-'))
  // The mail servers' own users have to come through.
  chmodSync(directory, 0o755)
  const users = ['plain', 'sealed'].map((name) => ({ name, password: `${name}-pw` }))
  const provider = await startProvider({ directory: join(directory, 'p'), domain: DOMAIN, users })
  const relay = await CountingRelay.start(provider.host, provider.ports.imap)
  const end = async (): Promise<void> => {
    await relay.stop()
    await provider.stop()
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    const gateway = await startGateway({ directory, provider, workers: 1, anyPorts: true })
    const email = `sealed@${DOMAIN}`
    const password = await gateway.createAccount(email)
    const login = { host: provider.host, login: 'sealed', password: 'sealed-pw', tls: { level: 'unsecure' } }
    await gateway.setProfile(email, password, { imap: { ...login, port: provider.ports.imap } })
    await gateway.setProfile(`${email}!counted`, password, { imap: { ...login, port: relay.port } })
    const atProvider = (user: string): Address => ({
      host: provider.host,
      port: provider.ports.imap,
      user,
      password: `${user}-pw`,
    })
    const ours = { host: '127.0.0.1', port: gateway.ports.imap, password }
    return {
      direct: atProvider('plain'),
      sealed: atProvider('sealed'),
      gateway: { ...ours, user: email },
      counted: { ...ours, user: `${email}!counted` },
      relay,
      maildir: provider.maildir,
      pid: gateway.pid,
      logFile: gateway.logFile,
      stop: async () => {
        await gateway.stop()
        await end()
      },
    }
  } catch (error) {
    await end()
    throw error
  }
}
