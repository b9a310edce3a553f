/**
 * A session in memory: what the client and the server say goes in, what they would see comes out. Questions are answered
 * at once by simple stand-ins, or held back until `release`. Transforms are simple too: a sealed message here is a header
 * with X-VESmail-ID and the message in base64.
 */
import assert from 'node:assert/strict'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import type { Account, Profile } from '../../../src/engine/account.ts'
import { ImapSession } from '../../../src/engine/imap/imap-session.ts'
import type { MakeTransforms, Transforms } from '../../../src/engine/imap/transforms.ts'
import { runBatch } from '../../../src/engine/seal/batch.ts'
import type { OutlinedLeaf } from '../../../src/engine/seal/opener.ts'
import type { Action, AnswerOf, Ask, AskOf, Event, QuestionKind, SessionStart } from '../../../src/engine/session.ts'
import type { MailSettings } from '../../../src/engine/settings.ts'
import type { Transform, TransformAction } from '../../../src/engine/transform.ts'

export const SETTINGS: MailSettings = {
  subject: '<VESmail encrypted message>',
  banners: [],
  viewerUrl: null,
  verifyHeader: false,
  maxbufOctets: 64 * 1024,
  sizes: 'exact',
  sizeBudgetOctets: 1024 * 1024,
  audit: [],
  bcc: [],
  bccPlain: false,
}

export const PROVIDER = {
  host: 'provider.test',
  port: 143,
  tls: { level: 'none', persist: false },
  login: 'bob',
  password: new Secret('bob-pw'),
  sasl: null,
  sizes: null,
} as const

export type Answers = { [K in QuestionKind]?: (ask: AskOf<K>) => AnswerOf<K> }

export interface StageOptions {
  readonly start?: Partial<SessionStart>
  readonly imap?: Profile['imap']
  readonly answers?: Answers
  readonly settings?: Partial<MailSettings>
  readonly sizes?: Map<string, string>
  /** The real ones, instead of the simple. */
  readonly transforms?: MakeTransforms
  /** Octets per `bytes` event; 0 = as given. */
  readonly chunk?: number
}

export class Stage {
  readonly session: ImapSession
  readonly held = new Set<QuestionKind>()
  readonly asked: QuestionKind[] = []
  readonly logs: { event: string; fields: Readonly<Record<string, unknown>> }[] = []
  ended: Extract<Action, { do: 'close' }>['why'] | null = null
  hungUp = false
  /** The size memory, by `mailbox uidvalidity uid`; may be another stage's. */
  readonly sizes: Map<string, string>
  /** What is in the session's file. */
  spilled: Buffer = Buffer.alloc(0)
  nowMs = 1_000_000
  deadlineMs: number | null = null
  readonly #options: StageOptions
  readonly #answers: Required<Answers>
  readonly #waiting: Ask[] = []
  readonly #asks: Ask[] = []
  #client = ''
  #upstream = ''

  constructor(options: StageOptions = {}) {
    this.#options = options
    this.sizes = options.sizes ?? new Map()
    const settings = { ...SETTINGS, ...options.settings }
    const account: Account = {
      name: 'bob@lab.test',
      user: 'bob@lab.test',
      profile: { imap: options.imap === undefined ? PROVIDER : options.imap, smtp: null },
      settings,
    }
    this.#answers = {
      login: ({ password }) => {
        if (password.expose().toString() !== 'veskey') throw new GatewayError('BAD_CREDENTIALS')
        return account
      },
      connect: () => ({ tls: false }),
      'start-tls': () => ({ sni: null }),
      token: () => ({ token: new Secret('token') }),
      'derive-key': () => Buffer.alloc(32),
      recipient: ({ address }) => ({ uri: `ves://vesmail/${address}/` }),
      'seal-key': () => ({ key: KEY, uri: 'ves://vesmail/x', xchg: null, verify: null }),
      'open-key': ({ messageId }) => {
        if (messageId.startsWith('locked')) throw new GatewayError('ITEM_UNAVAILABLE')
        return { key: KEY }
      },
      batch: (job) => runBatch(job),
      wait: () => null,
      sizes: (ask) => {
        const key = `${ask.mailbox} ${ask.uidValidity} ${ask.uid}`
        if (ask.op === 'keep') this.sizes.set(key, ask.sizes.toString('latin1'))
        const found = this.sizes.get(key)
        return { sizes: found === undefined || ask.op === 'keep' ? null : Buffer.from(found, 'latin1') }
      },
      spill: (ask) => {
        if (ask.op === 'write') this.spilled = Buffer.concat([this.spilled, ask.bytes])
        if (ask.op === 'clear') this.spilled = Buffer.alloc(0)
        return {
          bytes: ask.op === 'read' ? Buffer.from(this.spilled.subarray(ask.offset, ask.offset + ask.octets)) : null,
        }
      },
      ...options.answers,
    } as Required<Answers>
    const start: SessionStart = {
      host: 'proxy.test',
      client: { address: '127.0.0.1', port: 40000 },
      local: { address: '127.0.0.1', port: 143 },
      tls: false,
      tlsLevel: 'optional',
      version: '0.1',
      nowMs: () => this.nowMs,
      random: (octets) => Buffer.alloc(octets, 7),
      maxbufOctets: settings.maxbufOctets,
      ...options.start,
    }
    this.session = new ImapSession(start, options.transforms ?? (() => SIMPLE_TRANSFORMS))
    this.#perform(this.session.start())
  }

  /** After login at a Dovecot-like server with these capabilities. */
  static ready(options: StageOptions = {}, capabilities = DOVECOT): Stage {
    const stage = new Stage(options)
    stage.client('a LOGIN bob@lab.test veskey\r\n')
    stage.server('* OK ready\r\n')
    assert.match(stage.takeUpstream(), /^VES1 CAPABILITY\r\n$/)
    stage.server('* CAPABILITY IMAP4rev1 LITERAL+\r\nVES1 OK done\r\n')
    assert.equal(stage.takeUpstream(), 'VES2 LOGIN "bob" "bob-pw"\r\n')
    stage.server(`VES2 OK [CAPABILITY ${capabilities}] Logged in\r\n`)
    assert.match(stage.takeClient(), /a OK \[CAPABILITY [^\]]*\] Logged in\r\n$/)
    return stage
  }

  client(text: string): this {
    this.#feed('client', text)
    return this
  }

  server(text: string): this {
    this.#feed('upstream', text)
    return this
  }

  event(event: Event): this {
    this.#perform(this.session.step(event))
    return this
  }

  /** Answers what was held back, oldest first. */
  release(): this {
    this.held.clear()
    for (let ask = this.#waiting.shift(); ask !== undefined; ask = this.#waiting.shift()) this.#asks.push(ask)
    this.#perform([])
    return this
  }

  /**
   * What the provider is asked is answered, until nothing more is asked.
   * @param holdKeys for each round: whether keys are held back in it
   * @returns what the client got
   */
  converse(answer: (line: string) => string, holdKeys: readonly boolean[]): string {
    const holds = [...holdKeys]
    let out = ''
    for (let idle = 0; idle < 3; ) {
      if (holds.shift() === true) this.held.add('open-key')
      const lines = this.takeUpstream().split('\r\n').slice(0, -1)
      for (const line of lines) this.server(answer(line))
      this.release()
      idle = lines.length === 0 ? idle + 1 : 0
      out += this.takeClient()
    }
    return out
  }

  takeClient(): string {
    const text = this.#client
    this.#client = ''
    return text
  }

  takeUpstream(): string {
    const text = this.#upstream
    this.#upstream = ''
    return text
  }

  #feed(side: 'client' | 'upstream', text: string): void {
    const bytes = Buffer.from(text, 'latin1')
    const step = this.#options.chunk || bytes.length || 1
    for (let at = 0; at < bytes.length; at += step) {
      if (this.ended !== null) return
      this.event({ on: 'bytes', side, bytes: Buffer.from(bytes.subarray(at, at + step)) })
    }
  }

  /** As a driver does: the answer to a question is a later event, never in the middle of a step's actions. */
  #perform(actions: Action[]): void {
    this.#carryOut(actions)
    for (let ask = this.#asks.shift(); ask !== undefined; ask = this.#asks.shift()) this.#answer(ask)
  }

  #carryOut(actions: Action[]): void {
    for (const action of actions) {
      switch (action.do) {
        case 'send':
          if (action.side === 'client') this.#client += action.bytes.toString('latin1')
          else this.#upstream += action.bytes.toString('latin1')
          break
        case 'ask':
          this.asked.push(action.kind)
          ;(this.held.has(action.kind) ? this.#waiting : this.#asks).push(action)
          break
        case 'close':
          this.ended = action.why
          break
        case 'hang-up':
          this.hungUp = true
          break
        case 'deadline':
          this.deadlineMs = action.ms
          break
        case 'log':
          this.logs.push({ event: action.event, fields: action.fields })
          break
      }
    }
  }

  #answer(ask: Ask): void {
    let event: Event
    try {
      const answer = (this.#answers[ask.kind] as (ask: unknown) => unknown)(ask.ask)
      event = { on: 'answer', id: ask.id, answer }
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      event = { on: 'refused', id: ask.id, error }
    }
    this.#carryOut(this.session.step(event))
  }
}

export const DOVECOT =
  'IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE COMPRESS=DEFLATE'

/** Of every message. */
export const KEY = { algo: 'AES256GCM1K', keyString: Buffer.alloc(44) } as const

/** A sealed message as the stand-ins have it: its header and itself in base64. */
export function seal(message: string, id = 'm1'): string {
  const header = message.slice(0, message.indexOf('\r\n\r\n') + 4)
  const base64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64')
  return `X-VESmail-ID: <${id}>\r\nX-Header: ${base64(header)}\r\n\r\n${base64(message)}\r\n`
}

abstract class Simple implements Transform {
  readonly wants = true
  readonly chunks: Buffer[] = []

  push(bytes: Buffer): TransformAction[] {
    this.chunks.push(bytes)
    return []
  }

  abstract end(): TransformAction[]
  abstract answer(): TransformAction[]
}

class SimpleOpener extends Simple {
  readonly facts = {
    declaredSizes: null,
    padded: false,
    messageId: null,
    end: null,
    missingParts: 0,
    endMissing: false,
    unsealedParts: 0,
    altered: false,
    layoutLost: 0,
  }

  end(): TransformAction[] {
    const messageId = /<(.*)>/.exec(Buffer.concat(this.chunks).toString('latin1'))?.[1] ?? ''
    return [{ do: 'ask', id: 1, kind: 'open-key', ask: { messageId, xchg: null } }]
  }

  answer(): TransformAction[] {
    const text = Buffer.concat(this.chunks).toString('latin1')
    const bytes = Buffer.from(text.slice(text.indexOf('\r\n\r\n') + 4), 'base64')
    return [{ do: 'write', bytes }, { do: 'done' }]
  }
}

class SimpleSealer extends Simple {
  readonly facts = { messageId: 'm1' }

  end(): TransformAction[] {
    return [{ do: 'ask', id: 1, kind: 'seal-key', ask: { messageId: 'm1', headerRecipients: [] } }]
  }

  answer(): TransformAction[] {
    const bytes = Buffer.from(seal(Buffer.concat(this.chunks).toString('latin1')))
    return [{ do: 'write', bytes }, { do: 'done' }]
  }
}

/** The header as it was; one without it (made by hand in a test) stays as it is. */
class SimpleOutliner extends SimpleOpener {
  readonly #leaf: (leaf: OutlinedLeaf) => void

  constructor(leaf: (leaf: OutlinedLeaf) => void) {
    super()
    this.#leaf = leaf
  }

  override answer(): TransformAction[] {
    this.#leaf({ part: 0, sealed: null })
    const text = Buffer.concat(this.chunks).toString('latin1')
    const header = /^X-Header: (.*)$/m.exec(text)?.[1]
    const body = text.slice(text.indexOf('\r\n\r\n') + 4)
    const bytes =
      header === undefined
        ? Buffer.from(text, 'latin1')
        : Buffer.concat([Buffer.from(header, 'base64'), Buffer.from(body)])
    return [{ do: 'write', bytes }, { do: 'done' }]
  }
}

export const SIMPLE_TRANSFORMS: Transforms = {
  opener: () => new SimpleOpener(),
  outliner: (leaf) => new SimpleOutliner(leaf),
  sealer: () => new SimpleSealer(),
}
