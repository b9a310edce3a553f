/**
 * Mail that the repository sends of itself: the token that proves an address, the word that somebody sent encrypted mail,
 * the warning that a recovery was begun. Answers do not wait for it, so that they tell nobody whether one was sent.
 */
import { createTransport, type Transporter } from 'nodemailer'
import type { Log } from '../../base/log.ts'
import type { Secret } from '../../base/secret.ts'

export type MailKind = 'onboarding' | 'invite' | 'recovery'

export interface MailTemplate {
  readonly subject: string
  /** `{name}` is filled in; the names are those of {@link DEFAULT_TEMPLATES}. */
  readonly text: string
}

export interface Mailer {
  /** @param lost is called where it did not go out; those who end the mailer wait for it */
  onboarding(email: string, token: string, lost: () => Promise<void>): void
  invite(email: string, sender: string): void
  recoveryStarted(email: string, readyMs: number): void
  close(): Promise<void>
}

export interface MailerOptions {
  /** `smtp://user:password@host:port` or `smtps://…`. */
  readonly smtp: Secret<string>
  readonly from: string
  /** Where an account is made: `{email}` and `{token}` are filled in, percent-encoded. */
  readonly onboardingUrl: string
  readonly templates?: Partial<Record<MailKind, MailTemplate>>
  readonly log: Log
}

export const DEFAULT_TEMPLATES: Readonly<Record<MailKind, MailTemplate>> = {
  onboarding: {
    subject: 'Your VES account',
    text:
      'Somebody, we think you, asked for a VES account for {email}.\n\nTo make it, use this within an hour:\n\n{url}\n\n' +
      'If that was not you, there is nothing to do: without this mail nobody can make an account for your address.\n',
  },
  invite: {
    subject: 'Encrypted mail for you',
    text:
      '{sender} sent encrypted mail to {email}. To read it with your own mail program, make a VES account:\n\n{url}\n\n' +
      'Mail that was sent to you before is readable then, too.\n',
  },
  recovery: {
    subject: 'Recovery of your VES account was begun',
    text:
      'Recovery of the VES account {email} by your trusted friends was begun. Nothing can be recovered before {time}.\n\n' +
      'If that was not you, cancel it now: log in and run\n\n  vesmail account friends cancel {email}\n',
  },
}

/** Mails that may wait: a flood of requests is no reason to remember them all. */
const MAX_WAITING = 1000
const TIMEOUT_MS = 20_000

export class SmtpMailer implements Mailer {
  readonly #options: MailerOptions
  readonly #transport: Transporter
  readonly #open = new Set<Promise<void>>()

  constructor(options: MailerOptions) {
    this.#options = options
    this.#transport = createTransport({
      url: options.smtp.expose(),
      pool: true,
      maxConnections: 2,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    } as Parameters<typeof createTransport>[0])
  }

  onboarding(email: string, token: string, lost: () => Promise<void>): void {
    this.#send('onboarding', email, { url: this.#url(email, token) }, lost)
  }

  invite(email: string, sender: string): void {
    this.#send('invite', email, { sender, url: this.#url(email, '') })
  }

  recoveryStarted(email: string, readyMs: number): void {
    this.#send('recovery', email, { time: new Date(readyMs).toUTCString() })
  }

  /** Resolves when nothing is being sent. */
  async idle(): Promise<void> {
    while (this.#open.size > 0) await Promise.allSettled(this.#open)
  }

  /** Sends what waits, then ends. */
  async close(): Promise<void> {
    await this.idle()
    this.#transport.close()
  }

  #url(email: string, token: string): string {
    return filled(this.#options.onboardingUrl, { email: encodeURIComponent(email), token: encodeURIComponent(token) })
  }

  #send(kind: MailKind, email: string, values: Record<string, string>, lost = async (): Promise<void> => {}): void {
    const { log, from, templates } = this.#options
    if (this.#open.size >= MAX_WAITING) {
      log.write('warn', 'repository-mail', { kind, result: 'dropped' })
      this.#until(lost(), kind)
      return
    }
    const template = templates?.[kind] ?? DEFAULT_TEMPLATES[kind]
    const all = { ...values, email }
    const sent = this.#transport
      .sendMail({
        from,
        // As an object, so that no character of it is taken for address syntax.
        to: { name: '', address: email },
        subject: filled(template.subject, all),
        text: filled(template.text, all),
        headers: { 'Auto-Submitted': 'auto-generated' },
      })
      .then(() => log.write('info', 'repository-mail', { kind, result: 'sent' }))
      .catch((error: Error) => {
        log.write('error', 'repository-mail', { kind, result: 'failed', reason: error.message })
        return lost()
      })
    this.#until(sent, kind)
  }

  #until(work: Promise<void>, kind: MailKind): void {
    const { log } = this.#options
    const over = work
      .catch((error: Error) =>
        log.write('error', 'repository-mail', { kind, result: 'not taken back', reason: error.message }),
      )
      .finally(() => this.#open.delete(over))
    this.#open.add(over)
  }
}

/** Unknown names stay as they are. */
export function filled(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{([a-z]+)\}/g, (whole, name: string) =>
    Object.hasOwn(values, name) ? values[name]! : whole,
  )
}

/** First line `Subject: …`, an empty line, then the text. @returns null where it is not so */
export function parseTemplate(file: string): MailTemplate | null {
  const parsed = /^Subject: ([^\r\n]+)\r?\n\r?\n([\s\S]+)$/.exec(file)
  return parsed === null ? null : { subject: parsed[1]!, text: parsed[2]! }
}
