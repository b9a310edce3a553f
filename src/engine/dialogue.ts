/**
 * A provider login with someone listening (the probe, now.md): what is asked, sent and answered is told in words, with
 * secrets blotted out. Otherwise the same bookkeeping as any session's.
 */
import type { GatewayError } from '../base/errors.ts'
import { Asking } from './asking.ts'
import type { AnswerOf, AskOf, CertificateView, QuestionKind, Side } from './session.ts'

/** Longer words of a provider are cut; a probe is for eyes. Characters. */
const MAX_LINE = 500

export class DialogueAsking extends Asking {
  readonly #tell: (text: string) => void
  readonly #secrets: readonly string[]

  /** @param secrets not shown wherever they appear, nor their base64 */
  constructor(tell: (text: string) => void, secrets: readonly string[]) {
    super()
    this.#tell = tell
    this.#secrets = secrets
      .filter((secret) => secret !== '')
      .flatMap((secret) => [secret, Buffer.from(secret).toString('base64').replace(/=+$/, '')])
  }

  override ask<K extends QuestionKind>(
    kind: K,
    ask: AskOf<K>,
    answered: (answer: AnswerOf<K>) => void,
    refused: (error: GatewayError) => void,
  ): void {
    if (kind === 'connect') {
      const { host, port } = ask as AskOf<'connect'>
      this.tell(`Connecting to [${host}]:${port} ...`)
    }
    super.ask(
      kind,
      ask,
      (answer) => {
        if (kind === 'connect') this.tell('... connected')
        if (kind === 'connect' || kind === 'start-tls') this.#tellTls((answer as AnswerOf<'start-tls'>).certificate)
        answered(answer)
      },
      (error) => {
        const reason = typeof error.detail.reason === 'string' ? error.detail.reason : error.code
        // Before the handshake the connection was there.
        if (kind === 'connect' && error.code !== 'UPSTREAM_TLS') this.tell(`... failed (${reason})`)
        if (error.code === 'UPSTREAM_TLS') this.tell(`[crt verify] ${reason}`)
        refused(error)
      },
    )
  }

  override send(side: Side, bytes: Buffer | string): void {
    if (side === 'upstream') {
      // The command and its mechanism; what follows may be a secret.
      const said = /^(?:VES\d+ )?(STARTTLS|AUTH \S+|AUTHENTICATE \S+|LOGIN|EHLO|CAPABILITY)\b/i.exec(
        bytes.toString('latin1'),
      )
      if (said !== null) this.tell(said[1]!)
    }
    super.send(side, bytes)
  }

  /** One line, printable, without secrets. */
  tell(text: string): void {
    let shown = text.replace(/[^\x20-\x7e]+/g, ' ').trim()
    for (const secret of this.#secrets) shown = shown.replaceAll(secret, '***')
    this.#tell(shown.slice(0, MAX_LINE))
  }

  #tellTls(certificate: CertificateView | null | undefined): void {
    if (certificate === null || certificate === undefined) return
    this.tell(`[tls peer] ${certificate.host}`)
    this.tell(`[crt subject] ${certificate.subject}`)
    this.tell(`[crt issuer] ${certificate.issuer}`)
    this.tell(`[crt verify] ${certificate.verify}`)
  }
}
