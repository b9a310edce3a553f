/**
 * The oracle's own servers: the sandbox provider with two users, the real daemon before the second one's mailbox, and a
 * counting relay between the two.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { startProvider } from '../../src/cli/sandbox/provider.ts'
import type { Address } from './imap-connection.ts'
import { CountingRelay } from './relay.ts'

const DOMAIN = 'oracle.test'

export interface Servers {
  readonly direct: Address
  readonly gateway: Address
  readonly relay: CountingRelay
  stop(): Promise<void>
}

/**
 * @param sizes the account's setting (imap.md §5)
 * @param keep  leave the folder with mailboxes and logs, and tell where it is
 */
export async function startServers(sizes: string, keep: boolean): Promise<Servers> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-oracle-'))
  // The mail servers' own users have to come through.
  chmodSync(directory, 0o755)
  const users = ['plain', 'sealed'].map((name) => ({ name, password: `${name}-at-the-provider` }))
  const provider = await startProvider({ directory: join(directory, 'p'), domain: DOMAIN, users })
  const relay = await CountingRelay.start(provider.host, provider.ports.imap)
  const end = async (): Promise<void> => {
    await relay.stop()
    await provider.stop()
    if (keep) console.log(`kept ${directory}`)
    else rmSync(directory, { recursive: true, force: true })
  }
  try {
    const gateway = await startGateway({
      directory,
      provider,
      workers: 1,
      anyPorts: true,
    })
    const email = `sealed@${DOMAIN}`
    const password = await gateway.createAccount(email)
    const imap = {
      host: provider.host,
      port: relay.port,
      login: 'sealed',
      password: 'sealed-at-the-provider',
      sizes,
      tls: { level: 'unsecure' },
    }
    await gateway.setProfile(email, password, { imap })
    return {
      direct: { host: provider.host, port: provider.ports.imap, user: 'plain', password: 'plain-at-the-provider' },
      gateway: { host: '127.0.0.1', port: gateway.ports.imap, user: email, password },
      relay,
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
