/**
 * The viewer's work, away from its page: unlocks the reader's vault, fetches the spooled message and opens it, or makes
 * an account for someone who has none. Runs in a Web Worker, so that a long mail does not stop the page.
 *
 * Rule: VESkeys, keys and plaintext stay here and on the page; the server gets what it could have anyway: a session's
 * token, sealed keys, the message's id.
 */
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { vesUri } from '../engine/account-name.ts'
import { runTransform } from '../engine/run-transform.ts'
import { runBatch } from '../engine/seal/batch.ts'
import { Opener } from '../engine/seal/opener.ts'
import { makeVeskey } from '../engine/seal/vault-key-make.ts'
import { createAccount } from '../ves/client/accounts.ts'
import type { VaultSession } from '../ves/client/vault-session.ts'
import { type NewKeys, VesClient } from '../ves/client/ves-client.ts'
import { WebKeyOperations } from './keys.ts'
import { PartReader } from './message/part-reader.ts'
import { isCut, type Told, toldOf } from './message/told.ts'
import { type ShownMessage, viewOf } from './message/view.ts'

/** What the server tells the page about itself. */
export interface ViewerConfig {
  readonly domain: string
  readonly newKeys: NewKeys
  /** Spooled copies of longer messages end here; null: they are whole. Octets. */
  readonly spoolOctets: number | null
}

/** Why a message is not shown; each has words of its own (`page/texts.ts`). */
export type Failure =
  | 'wrong-password'
  | 'locked'
  | 'no-such-message'
  | 'not-for-you'
  | 'not-exchanged'
  | 'expired'
  | 'altered'
  | 'not-sealed'
  | 'unsupported'
  | 'unreachable'
  | 'busy'
  | 'bad-link'
  | 'failed'

export class ViewerError extends Error {
  readonly failure: Failure

  constructor(failure: Failure, cause?: unknown) {
    super(failure, { cause })
    this.failure = failure
  }
}

export interface OpenedMail extends Told {
  readonly message: ShownMessage
}

export interface ReaderParts {
  /** Where the viewer is served, its last slash included. */
  readonly base: URL
  readonly config: ViewerConfig
  /** @param total null: not known */
  readonly progress: (octets: number, total: number | null) => void
}

/** In such pieces a message is opened: so little waits for the key, and of a copy that is cut, all that is whole comes out. */
const PIECE_OCTETS = 64 * 1024
const REQUEST_MS = 60_000

export class Reader {
  readonly #parts: ReaderParts
  readonly #keys = new WebKeyOperations()

  constructor(parts: ReaderParts) {
    this.#parts = parts
  }

  /** @param messageId without angle brackets @throws ViewerError */
  async open(messageId: string, email: string, veskey: string): Promise<OpenedMail> {
    try {
      const session = await this.#unlock(email, veskey)
      await this.#mustExist(session, messageId)
      const sealed = await this.#fetch(messageId, await session.bearer())
      return await this.#read(messageId, session, sealed)
    } catch (error) {
      throw viewerError(error)
    }
  }

  /** Mails a one-time link to whoever owns the address. @throws ViewerError */
  async askForLink(email: string): Promise<void> {
    try {
      const client = await this.#client()
      await client.api.request({ path: 'onboarding', body: { email } })
    } catch (error) {
      throw viewerError(error)
    }
  }

  /** Makes the account of the address that the link was mailed to. @throws ViewerError */
  async setUp(email: string, token: string): Promise<{ readonly password: string; readonly recoveryKey: string }> {
    const [password, recoveryKey] = [makeVeskey(), makeVeskey()]
    try {
      const client = await this.#client()
      const account = {
        email: email.toLowerCase(),
        name: null,
        kind: client.newKind,
        password: new Secret(password),
        rounds: null,
        recoveryKey: new Secret(recoveryKey),
      }
      await createAccount(client, account, { by: 'mail', token: new Secret(token) })
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'VES_DENIED') throw new ViewerError('bad-link', error)
      throw viewerError(error)
    }
    return { password: password.toString('latin1'), recoveryKey: recoveryKey.toString('latin1') }
  }

  async #client(): Promise<VesClient> {
    const { domain, newKeys } = this.#parts.config
    const decoy = await this.#keys.run('make', { kind: 'P-256', veskey: makeVeskey(), rounds: null })
    return new VesClient({
      api: new URL('api/', this.#parts.base).href,
      domain,
      newKeys,
      keys: this.#keys,
      decoy: decoy.privateKey,
      requestTimeoutMs: REQUEST_MS,
    })
  }

  async #unlock(email: string, veskey: string): Promise<VaultSession> {
    const client = await this.#client()
    const name = email.trim()
    const uri = name.includes('/') ? name : `${vesUri(client.domain, name.toLowerCase())}/`
    return client.unlock(uri, new Secret(Buffer.from(veskey, 'utf8')))
  }

  /** So that a message that was never there is told from one that is not kept any more. */
  async #mustExist(session: VaultSession, messageId: string): Promise<void> {
    try {
      await session.hasAccess(vesUri(session.client.domain, messageId))
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'VES_NOT_FOUND')
        throw new ViewerError('no-such-message', error)
      throw error
    }
  }

  async #fetch(messageId: string, token: Secret<string>): Promise<Response> {
    let answer: Response
    try {
      answer = await fetch(this.#parts.base, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ messageId, token: token.expose() }),
        credentials: 'omit',
        cache: 'no-store',
        redirect: 'error',
        referrerPolicy: 'no-referrer',
      })
    } catch (cause) {
      throw new ViewerError('unreachable', cause)
    }
    if (answer.ok) return answer
    const failures: Readonly<Record<number, Failure>> = { 403: 'not-for-you', 404: 'expired', 503: 'busy' }
    throw new ViewerError(failures[answer.status] ?? 'failed')
  }

  async #read(messageId: string, session: VaultSession, sealed: Response): Promise<OpenedMail> {
    const total = Number(sealed.headers.get('x-vesmail-octets') ?? Number.NaN)
    const octets = { received: 0, ended: false }
    const opener = new Opener({ maxbufOctets: PIECE_OCTETS })
    const parts = new PartReader()
    const endsAtLimit = (): boolean => octets.ended && octets.received === this.#parts.config.spoolOctets
    let isBroken = false
    try {
      const opened = runTransform(opener, this.#received(sealed, octets, Number.isInteger(total) ? total : null), {
        'open-key': async (ask) => {
          // Another message's copy in this one's place would be opened with that one's key, and nobody would know.
          if (ask.messageId !== messageId) throw new ViewerError('altered')
          return { key: await session.messageKey(ask.messageId, ask.xchg) }
        },
        batch: (job) => runBatch(job),
      })
      for await (const piece of opened) parts.push(piece)
    } catch (error) {
      isBroken = error instanceof GatewayError && error.code === 'SEAL_BROKEN'
      if (!isBroken || !endsAtLimit()) throw error
    }
    const { facts } = opener
    if (facts.encrypted === false) throw new ViewerError('not-sealed')
    const copy = { endsAtLimit: endsAtLimit(), isBroken }
    const root = parts.end(isCut(facts, copy))
    if (root === null) throw new ViewerError('altered')
    const told = toldOf(facts, { ...copy, shownOctets: parts.readOctets })
    return { ...told, message: viewOf(root, facts.unsealedAt) }
  }

  async *#received(
    answer: Response,
    octets: { received: number; ended: boolean },
    total: number | null,
  ): AsyncGenerator<Buffer> {
    if (answer.body === null) throw new ViewerError('failed')
    const body = answer.body.getReader()
    for (;;) {
      const { done, value } = await body.read().catch((cause: unknown) => {
        throw new ViewerError('unreachable', cause)
      })
      if (done) break
      octets.received += value.length
      this.#parts.progress(octets.received, total)
      for (let at = 0; at < value.length; at += PIECE_OCTETS) {
        yield Buffer.from(value.buffer, value.byteOffset + at, Math.min(PIECE_OCTETS, value.length - at))
      }
    }
    octets.ended = true
  }
}

function viewerError(error: unknown): ViewerError {
  if (error instanceof ViewerError) return error
  if (!(error instanceof GatewayError)) return new ViewerError('failed', error)
  switch (error.code) {
    case 'BAD_CREDENTIALS':
      return new ViewerError('wrong-password', error)
    case 'ACCESS_DENIED':
      return new ViewerError('locked', error)
    case 'ITEM_UNAVAILABLE':
      return new ViewerError('not-exchanged', error)
    case 'SEAL_BROKEN':
    case 'VES_CRYPTO':
    case 'VES_INCORRECT':
      return new ViewerError('altered', error)
    case 'VES_UNSUPPORTED':
      return new ViewerError('unsupported', error)
    case 'VES_CONNECTION':
      return new ViewerError('unreachable', error)
    case 'VES_QUOTA':
      return new ViewerError('busy', error)
    default:
      return new ViewerError('failed', error)
  }
}
