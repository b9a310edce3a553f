/**
 * IMAP sessions over real sockets without the rest of the gateway: one listener, keys in memory (those of the vectors are
 * known), accounts by name with the password `veskey`. For what needs a real server and real clients only.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { after } from 'node:test'
import { GatewayError } from '../../src/base/errors.ts'
import { Secret } from '../../src/base/secret.ts'
import type { Account } from '../../src/engine/account.ts'
import { ImapSession } from '../../src/engine/imap/imap-session.ts'
import { runBatch } from '../../src/engine/seal/batch.ts'
import type { MessageKey } from '../../src/engine/seal/message-key.ts'
import type { MailSettings } from '../../src/engine/settings.ts'
import { Drive, type DriveEnd, type Services } from '../../src/net/drive.ts'
import { upstreamTls } from '../../src/net/tls.ts'
import { SETTINGS } from '../engine/imap/stage.ts'
import { LogWatch } from '../lab/log-secrets.ts'

export interface ImapLabOptions {
  readonly host: string
  readonly port: number
  /** Provider password by login name; accounts are `name@lab.test`. */
  readonly passwords: Readonly<Record<string, string>>
  readonly settings?: Partial<MailSettings>
  /** As in the profile. */
  readonly search?: 'open'
  /** Of a session's file. */
  readonly spillOctets?: number
  /** Another lab's. */
  readonly keys?: Map<string, MessageKey>
}

export interface ImapLab {
  readonly port: number
  readonly keys: Map<string, MessageKey>
  /** Ends of sessions that are over. */
  readonly ends: DriveEnd[]
  close(): Promise<void>
}

interface VectorKeys {
  readonly items: readonly { readonly externalId: string; readonly value: string }[]
}

export async function imapLab(options: ImapLabOptions): Promise<ImapLab> {
  const keys = options.keys ?? new Map<string, MessageKey>()
  const file = new URL('../vectors/vault-keys.json', import.meta.url)
  for (const { externalId, value } of (JSON.parse(readFileSync(file, 'utf8')) as VectorKeys).items) {
    keys.set(externalId, { algo: 'AES256GCM1K', keyString: Buffer.from(value, 'hex') })
  }
  const watch = LogWatch.forFile()
  watch.secret(PASSWORD, ...Object.values(options.passwords), ...[...keys.values()].map(({ keyString }) => keyString))
  const services = servicesOf(options, keys, watch)
  const tls = upstreamTls(null)
  const ends: DriveEnd[] = []
  const server: Server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
    const session = new ImapSession({
      host: 'proxy.lab.test',
      client: { address: '127.0.0.1', port: client.remotePort ?? 0 },
      local: { address: '127.0.0.1', port: 0 },
      tls: false,
      tlsLevel: 'none',
      version: 'lab',
      nowMs: Date.now,
      random: randomBytes,
      maxbufOctets: options.settings?.maxbufOctets ?? LAB_SETTINGS.maxbufOctets,
    })
    const drive = new Drive({
      session: watch.session(session),
      client,
      services,
      log: watch.log,
      clientTls: null,
      upstream: { tls, timeoutMs: 5000, networks: null },
      spillOctets: options.spillOctets ?? 1024 * 1024 * 1024,
    }).start()
    void drive.ended.then((end) => ends.push(end))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
  after(close)
  return { port: (server.address() as AddressInfo).port, keys, ends, close }
}

const LAB_SETTINGS: MailSettings = { ...SETTINGS, maxbufOctets: 1024 * 1024 }

/** Of every account. */
const PASSWORD = 'veskey'

function servicesOf(options: ImapLabOptions, keys: Map<string, MessageKey>, watch: LogWatch): Services {
  const settings = { ...LAB_SETTINGS, ...options.settings }
  const none = (): never => {
    throw new GatewayError('INTERNAL', { reason: 'not in this lab' })
  }
  return {
    login: async ({ account, password }) => {
      const [name = ''] = account.split('@')
      const provider = options.passwords[name]
      if (provider === undefined || password.expose().toString() !== PASSWORD) throw new GatewayError('BAD_CREDENTIALS')
      const { host, port } = options
      const answer: Account = {
        name: account,
        user: account,
        profile: {
          imap: {
            host,
            port,
            tls: { level: 'none', persist: false },
            login: name,
            password: new Secret(provider),
            sasl: null,
            sizes: null,
            ...(options.search === undefined ? {} : { search: options.search }),
          },
          smtp: null,
        },
        settings,
      }
      return answer
    },
    'seal-key': async ({ messageId }) => {
      // The same id again is the same item.
      const key: MessageKey = keys.get(messageId) ?? { algo: 'AES256GCM1K', keyString: randomBytes(44) }
      keys.set(messageId, key)
      watch.secret(key.keyString)
      return { key, uri: `ves://vesmail/${messageId}`, xchg: null, verify: null }
    },
    'open-key': async ({ messageId }) => {
      const key = keys.get(messageId)
      if (key === undefined) throw new GatewayError('ITEM_UNAVAILABLE')
      return { key }
    },
    batch: async (job) => runBatch(job),
    token: async () => none(),
    recipient: async () => none(),
  }
}
