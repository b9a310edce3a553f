/**
 * SMTP sessions over real sockets without the rest of the gateway: one listener, keys in memory, every address has a
 * vault, accounts by name with the password `veskey`. For what needs a real server and real clients only.
 */
import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { after } from 'node:test'
import { GatewayError } from '../../src/base/errors.ts'
import type { Log } from '../../src/base/log.ts'
import { Secret } from '../../src/base/secret.ts'
import type { Account, Provider, SealMode } from '../../src/engine/account.ts'
import { runBatch } from '../../src/engine/seal/batch.ts'
import type { MessageKey } from '../../src/engine/seal/message-key.ts'
import { Opener } from '../../src/engine/seal/opener.ts'
import { Sealer } from '../../src/engine/seal/sealer.ts'
import { SmtpSession } from '../../src/engine/smtp/smtp-session.ts'
import type { Transform, TransformAction } from '../../src/engine/transform.ts'
import { Drive, type DriveEnd, type Services } from '../../src/net/drive.ts'
import { type ServerTls, upstreamTls } from '../../src/net/tls.ts'
import { SETTINGS } from '../engine/smtp/world.ts'
import { LogWatch } from '../lab/log-secrets.ts'

export interface SmtpLabOptions {
  readonly provider: Partial<Provider> & { readonly port: number }
  readonly mode?: SealMode
  readonly services?: Partial<Services>
  readonly tls?: ServerTls
}

export interface SmtpLab {
  readonly port: number
  /** By message id. */
  readonly keys: Map<string, MessageKey>
  readonly ends: DriveEnd[]
  /** Watched: no secret and no content may come into it. */
  readonly log: Log
  /** Opens what the provider stores. */
  open(sealed: Buffer): Buffer
}

export async function smtpLab(options: SmtpLabOptions): Promise<SmtpLab> {
  const keys = new Map<string, MessageKey>()
  const watch = LogWatch.forFile()
  watch.secret(PASSWORD, PROVIDER_PASSWORD)
  const services = servicesOf(options, keys, watch)
  const tls = upstreamTls(null)
  const ends: DriveEnd[] = []
  const open = new Set<Drive>()
  const server: Server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (client) => {
    const session = new SmtpSession(
      {
        host: 'gw.lab.test',
        client: { address: '127.0.0.1', port: client.remotePort ?? 0 },
        local: { address: '127.0.0.1', port: 0 },
        tls: false,
        tlsLevel: options.tls === undefined ? 'none' : 'optional',
        version: 'lab',
        nowMs: Date.now,
        random: randomBytes,
        maxbufOctets: 1 << 20,
      },
      {
        makeSealer: (start, { settings }) =>
          new Sealer({ random: start.random, idBase: '.lab', settings, totalOctets: null, addedIdStays: true }),
      },
    )
    const drive = new Drive({
      session: watch.session(session),
      client,
      services,
      log: watch.log,
      clientTls: options.tls ?? null,
      upstream: { tls, timeoutMs: 5000, networks: null },
    }).start()
    open.add(drive)
    void drive.ended.then((end) => {
      open.delete(drive)
      ends.push(end)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => {
    for (const drive of open) drive.drain(true)
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    keys,
    ends,
    log: watch.log,
    open: (sealed) => opened(sealed, keys),
  }
}

/** Of every account. */
const PASSWORD = 'veskey'
const PROVIDER_PASSWORD = 'alice-provider-password'

function servicesOf(options: SmtpLabOptions, keys: Map<string, MessageKey>, watch: LogWatch): Services {
  const account: Account = {
    name: 'alice',
    user: 'alice@lab.test',
    settings: SETTINGS,
    profile: {
      imap: null,
      smtp: {
        host: '127.0.0.1',
        tls: { level: 'unsecure', persist: false },
        login: 'alice',
        password: new Secret(PROVIDER_PASSWORD),
        sasl: null,
        mode: options.mode ?? 'REJECT',
        ...options.provider,
      },
    },
  }
  return {
    login: async ({ password }) => {
      if (password.expose().toString() !== PASSWORD) throw new GatewayError('BAD_CREDENTIALS')
      return account
    },
    recipient: async ({ address }) => ({ uri: `ves://vesmail/${address}/` }),
    'seal-key': async ({ messageId }) => {
      const key: MessageKey = { algo: 'AES256GCM1K', keyString: randomBytes(44) }
      watch.secret(key.keyString)
      keys.set(messageId, key)
      return { key, uri: `ves://vesmail/${messageId}`, xchg: null, verify: null }
    },
    'open-key': async () => {
      throw new GatewayError('ITEM_UNAVAILABLE')
    },
    batch: async (job) => runBatch(job),
    ...options.services,
  }
}

function opened(sealed: Buffer, keys: Map<string, MessageKey>): Buffer {
  const out: Buffer[] = []
  const opener: Transform = new Opener({ maxbufOctets: 1 << 20 })
  const perform = (actions: TransformAction[]): void => {
    for (const action of actions) {
      if (action.do === 'write') out.push(action.bytes)
      if (action.do !== 'ask') continue
      if (action.kind === 'open-key') {
        const key = keys.get(action.ask.messageId)
        if (key === undefined) throw new GatewayError('ITEM_UNAVAILABLE')
        perform(opener.answer(action.id, { key }))
      } else if (action.kind === 'batch') perform(opener.answer(action.id, runBatch(action.ask)))
    }
  }
  perform(opener.push(Buffer.from(sealed)))
  perform(opener.end())
  return Buffer.concat(out)
}

/** A mail client of lines: sends what it is told, gives back each reply. Nothing is stuffed, so that tests can lie. */
export class RawClient {
  readonly socket: Socket
  #text = ''
  #wake: () => void = () => {}
  closed = false

  constructor(to: number | Socket) {
    this.socket = typeof to === 'number' ? connect({ port: to, host: '127.0.0.1', noDelay: true }) : to
    this.socket.setEncoding('latin1').on('data', (piece: string) => {
      this.#text += piece
      this.#wake()
    })
    for (const event of ['close', 'error', 'end']) {
      this.socket.on(event, () => {
        this.closed = true
        this.#wake()
      })
    }
  }

  /** The next reply, all its lines; what has come so far when the connection ends. */
  async reply(): Promise<string> {
    for (;;) {
      const form = /^(?:\d{3}-.*\r\n)*\d{3}(?: .*)?\r\n/.exec(this.#text)
      if (form !== null) {
        this.#text = this.#text.slice(form[0].length)
        return form[0]
      }
      if (this.closed) return this.#text
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async say(text: string | Buffer): Promise<string> {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text)
    return this.reply()
  }

  /** @returns this, past AUTH */
  async login(account = 'alice', password = 'veskey'): Promise<this> {
    await this.reply()
    await this.say('EHLO client.lab.test\r\n')
    const auth = await this.say(`AUTH PLAIN ${Buffer.from(`\0${account}\0${password}`).toString('base64')}\r\n`)
    if (!auth.startsWith('235')) throw new Error(auth)
    return this
  }

  async envelope(from: string, ...to: string[]): Promise<void> {
    for (const line of [`MAIL FROM:<${from}>`, ...to.map((one) => `RCPT TO:<${one}>`)]) {
      const reply = await this.say(`${line}\r\n`)
      if (!reply.startsWith('250')) throw new Error(`${line}: ${reply}`)
    }
    const reply = await this.say('DATA\r\n')
    if (!reply.startsWith('354')) throw new Error(reply)
  }

  close(): void {
    this.socket.destroy()
  }
}

/** Puts AUTH in front of a server that has none: says yes to it, passes everything else on. */
export async function authShim(target: number): Promise<number> {
  const server = createServer({ noDelay: true }, (ours) => {
    const theirs = connect({ port: target, host: '127.0.0.1', noDelay: true })
    let authenticated = false
    ours.on('data', (bytes: Buffer) => {
      if (authenticated || !bytes.toString('latin1').startsWith('AUTH ')) theirs.write(bytes)
      else {
        authenticated = true
        ours.write('235 2.7.0 ok\r\n')
      }
    })
    theirs.on('data', (bytes: Buffer) => {
      const text = bytes.toString('latin1')
      ours.write(
        !authenticated && text.startsWith('250-') ? text.replace('\r\n', '\r\n250-AUTH PLAIN\r\n') : bytes,
        'latin1',
      )
    })
    ours.on('close', () => theirs.destroy()).on('error', () => {})
    theirs.on('close', () => ours.destroy()).on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => server.close())
  return (server.address() as AddressInfo).port
}
