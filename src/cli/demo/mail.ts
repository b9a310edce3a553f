/** The demo's one mail: what Alice writes, how it is sent, what lies at the provider, what Bob's client gets. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ImapFlow } from 'imapflow'
import nodemailer from 'nodemailer'

/** Words that must not be found at the provider: each stands in another part of the mail. */
export const SECRET_WORDS = ['heron', 'kingfisher', 'cormorant', 'invoice-4711'] as const

export interface Endpoint {
  readonly host: string
  readonly port: number
  /** TLS from the first octet; else STARTTLS, which is insisted on. */
  readonly secure: boolean
  /** PEM of the certificate to trust. */
  readonly ca: string
}

export interface Login {
  readonly user: string
  readonly pass: string
}

/** Text, HTML and an attachment; CRLF line ends. */
export async function writeMail(from: string, to: string): Promise<Buffer> {
  const composer = nodemailer.createTransport({ streamTransport: true, buffer: true, newline: 'windows' })
  const [heron, kingfisher, cormorant, invoice] = SECRET_WORDS
  const name = to.charAt(0).toUpperCase() + to.slice(1, to.indexOf('@'))
  const composed = await composer.sendMail({
    from: `Alice <${from}>`,
    to: `${name} <${to}>`,
    subject: `The ${heron} is back`,
    text: `Dear ${name},\n\nthe ${kingfisher} has been seen at the pond again. Grüße,\nAlice\n`,
    html: `<p>Dear ${name},</p>\n<p>the <b>${kingfisher}</b> has been seen at the pond again. Gr&uuml;&szlig;e,<br>Alice</p>\n`,
    attachments: [{ filename: `${invoice}.csv`, content: `bird,count\r\n${cormorant},12\r\n`.repeat(40) }],
  })
  return composed.message as Buffer
}

/** @returns the final reply of the gateway */
export async function sendMail(
  endpoint: Endpoint,
  login: Login,
  envelope: { from: string; to: string },
  raw: Buffer,
): Promise<string> {
  const { host, port, secure, ca } = endpoint
  const transport = nodemailer.createTransport({ host, port, secure, requireTLS: !secure, auth: login, tls: { ca } })
  try {
    const { response } = await transport.sendMail({ envelope: { from: envelope.from, to: [envelope.to] }, raw })
    return response
  } finally {
    transport.close()
  }
}

/** The newest message in the INBOX, as the client gets it; null while there is none. */
export async function readMail(endpoint: Endpoint, login: Login): Promise<Buffer | null> {
  const { host, port, secure, ca } = endpoint
  const client = new ImapFlow({ host, port, secure, doSTARTTLS: !secure, auth: login, tls: { ca }, logger: false })
  await client.connect()
  try {
    const lock = await client.getMailboxLock('INBOX')
    try {
      const message = await client.fetchOne('*', { source: true })
      return message === false ? null : (message.source ?? null)
    } finally {
      lock.release()
    }
  } finally {
    await client.logout()
  }
}

/** The file in which the provider keeps the newest message of a Maildir; null while there is none. */
export function storedMail(maildir: string): Buffer | null {
  const files = ['new', 'cur']
    .map((folder) => join(maildir, folder))
    .flatMap((folder) => filesIn(folder).map((name) => join(folder, name)))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)
  return files[0] === undefined ? null : readFileSync(files[0])
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Without the trace headers that servers put in front on the way (RFC 5321 §4.4, and Dovecot's Delivered-To). */
export function withoutTrace(message: Buffer): Buffer {
  let at = 0
  while (/^(?:Return-Path|Received|Delivered-To|X-Original-To)[ \t]*:/i.test(message.toString('latin1', at, at + 40))) {
    do {
      const end = message.indexOf(0x0a, at)
      if (end < 0) return message.subarray(message.length)
      at = end + 1
    } while (message[at] === 0x20 || message[at] === 0x09)
  }
  return message.subarray(at)
}
