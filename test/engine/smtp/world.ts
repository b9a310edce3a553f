/** What SMTP scripts have around them: an account, a provider's answers, and transforms that can be looked through. */
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import type { Account, SealMode } from '../../../src/engine/account.ts'
import type { SessionStart } from '../../../src/engine/session.ts'
import type { MailSettings } from '../../../src/engine/settings.ts'
import { SmtpSession } from '../../../src/engine/smtp/smtp-session.ts'
import type { Transform, TransformAction } from '../../../src/engine/transform.ts'
import { type Answers, Player, START } from '../script.ts'

export const SETTINGS: MailSettings = {
  subject: '<VESmail encrypted message>',
  banners: [],
  viewerUrl: null,
  verifyHeader: false,
  maxbufOctets: 1024 * 1024,
  sizes: 'auto',
  sizeBudgetOctets: 0,
  audit: [],
  bcc: [],
  bccPlain: false,
}

export interface World {
  readonly mode?: SealMode | null
  readonly settings?: Partial<MailSettings>
  readonly start?: Partial<SessionStart>
  readonly answers?: Answers
  readonly account?: Partial<Account>
  readonly chunk?: number | null
  readonly makeTransform?: () => Transform
}

export function account(world: World): Account {
  return {
    name: 'alice@example.org',
    user: 'alice@example.org',
    profile: {
      imap: null,
      smtp: {
        host: 'smtp.provider.example',
        port: 587,
        tls: { level: 'none', persist: false },
        login: 'alice',
        password: new Secret('provider-pw'),
        sasl: null,
        mode: world.mode === undefined ? 'REJECT' : world.mode,
      },
    },
    settings: { ...SETTINGS, ...world.settings },
    ...world.account,
  }
}

/**
 * "Seals" in a way that a script can read: asks for the key at the blank line, then each octet is the letter's ROT13.
 * Everything that leaves it before the key is known would be a leak.
 */
export class FakeSealer implements Transform {
  readonly #input: Buffer[] = []
  #keyed = false
  #asked = false
  #ended = false

  push(bytes: Buffer): TransformAction[] {
    this.#input.push(bytes)
    return this.#flow()
  }

  end(): TransformAction[] {
    this.#ended = true
    return this.#flow()
  }

  answer(): TransformAction[] {
    this.#keyed = true
    return this.#flow()
  }

  get wants(): boolean {
    return this.#keyed || !this.#asked
  }

  #flow(): TransformAction[] {
    const actions: TransformAction[] = []
    if (!this.#asked && (this.#ended || Buffer.concat(this.#input).includes('\r\n\r\n'))) {
      this.#asked = true
      actions.push({ do: 'ask', id: 1, kind: 'seal-key', ask: { messageId: 'm1@example.org', headerRecipients: [] } })
    }
    if (!this.#keyed) return actions
    for (const bytes of this.#input.splice(0)) actions.push({ do: 'write', bytes: rot13(bytes) })
    if (this.#ended) actions.push({ do: 'done' })
    return actions
  }
}

export function rot13(bytes: Buffer): Buffer {
  return Buffer.from(
    bytes.toString('latin1').replace(/[a-z]/gi, (c) => {
      const base = c <= 'Z' ? 65 : 97
      return String.fromCharCode(((c.charCodeAt(0) - base + 13) % 26) + base)
    }),
    'latin1',
  )
}

const VAULTS: readonly string[] = ['bob@example.org', 'carol@example.org', 'žofie@example.org']

export function player(world: World = {}): Player {
  const answers: Answers = {
    login: ({ password }) =>
      password.expose().toString() === 'veskey' ? account(world) : new GatewayError('BAD_CREDENTIALS'),
    connect: ({ persist }) => ({ tls: persist }),
    'start-tls': () => ({ sni: null }),
    recipient: ({ address }) =>
      VAULTS.includes(address) ? { uri: `ves://vesmail/${address}/` } : new GatewayError('RECIPIENT_WITHOUT_VAULT'),
    'seal-key': () => ({
      key: { algo: 'AES256GCM1K', keyString: Buffer.alloc(44) },
      uri: 'ves://vesmail/m1@example.org',
      xchg: null,
      verify: null,
    }),
    wait: () => null,
    ...world.answers,
  }
  const session = new SmtpSession(
    { ...START, ...world.start },
    { makeSealer: world.makeTransform ?? (() => new FakeSealer()) },
  )
  return new Player(session, answers, world.chunk ?? null)
}

/** From the greeting to the provider's yes, everything offered. */
export const LOGIN = `
  S: 220 gw.example ESMTP VESmail ready.
  C: EHLO client.example
  S: 250-gw.example
  S: 250-8BITMIME
  S: 250-PIPELINING
  S: 250-ENHANCEDSTATUSCODES
  S: 250-DSN
  S: 250-SMTPUTF8
  S: 250-SIZE
  S: 250-AUTH PLAIN LOGIN
  S: 250-HELP
  S: 250 XVES
  C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHZlc2tleQ==
  P: 220 smtp.provider.example ESMTP
  U: EHLO client.example
`

/** @param keywords of the provider, AUTH PLAIN aside */
export function login(...keywords: string[]): string {
  const lines = ['smtp.provider.example', ...keywords]
  return `${LOGIN}
  ${lines.map((line) => `P: 250-${line}`).join('\n')}
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 2.7.0 Authentication successful
  S: 235 2.7.0 Authentication successful
`
}

export const ALL = ['PIPELINING', 'SIZE 1000000', '8BITMIME', 'SMTPUTF8', 'DSN', 'ENHANCEDSTATUSCODES']
