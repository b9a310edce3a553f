/**
 * The demo's third mail: to someone without a vault, who reads it in a browser. The mail waits sealed in Carol's mailbox;
 * the repository's one-time link for her comes there too, and is shown, since nobody has Carol's mail program.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { type Endpoint, type Login, SECRET_WORDS, sendMail, storedMail, writeMail } from './mail.ts'

const DELIVERY_MS = 15_000
const LOOK_EVERY_MS = 500

export interface Stranger {
  readonly checks: readonly (readonly [string, boolean])[]
  /** As it stands in the mail. */
  readonly link: string
}

/** @param viewer where it is, its last slash included */
export async function writeToStranger(
  endpoint: Endpoint,
  sender: Login,
  { address, maildir, viewer }: { readonly address: string; readonly maildir: string; readonly viewer: string },
): Promise<Stranger> {
  const written = await writeMail(sender.user, address)
  await sendMail(endpoint, sender, { from: sender.user, to: address }, written)
  const stored = (await waited(() => storedMail(maildir), DELIVERY_MS))?.toString('latin1') ?? ''
  // The banner's: what a mail program shows to someone who cannot open the rest.
  const link = new RegExp(`${viewer.replace(/[.?/]/g, '\\$&')}\\?msgid=[\\w.@%-]+`).exec(stored)?.[0] ?? ''
  const page = link === '' ? null : await fetchPage(link, endpoint.ca)
  return {
    link,
    checks: [
      ['someone without a vault gets the mail sealed too', stored.includes('X-VESmail-ID:') && !leaks(stored)],
      [
        'and in it the address of the viewer, which answers',
        page?.status === 200 && page.text.includes('<title>VESmail'),
      ],
    ],
  }
}

/** Tells each one-time link that comes to the mailbox. @returns how to stop */
export function watchForLinks(maildir: string, viewer: string, tell: (link: string) => void): () => void {
  const told = new Set<string>()
  const timer = setInterval(() => {
    for (const mail of mailsIn(maildir)) {
      // Long lines of text are quoted-printable.
      const text = mail.replace(/=\r?\n/g, '').replaceAll('=3D', '=')
      const at = text.indexOf(`${viewer}#`)
      const link = at < 0 ? null : (/^\S+/.exec(text.slice(at))?.[0] ?? null)
      if (link === null || told.has(link)) continue
      told.add(link)
      tell(link)
    }
  }, LOOK_EVERY_MS)
  return () => clearInterval(timer)
}

function leaks(text: string): boolean {
  return SECRET_WORDS.some((word) => text.includes(word))
}

function mailsIn(maildir: string): string[] {
  return ['new', 'cur'].flatMap((folder) => {
    try {
      return readdirSync(join(maildir, folder)).map((name) => readFileSync(join(maildir, folder, name), 'latin1'))
    } catch (error) {
      // Not there yet, or moved by a mail program just now.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  })
}

async function waited<T>(look: () => T | null, ms: number): Promise<T | null> {
  const until = performance.now() + ms
  for (;;) {
    const found = look()
    if (found !== null || performance.now() > until) return found
    await new Promise((later) => setTimeout(later, 50))
  }
}

function fetchPage(url: string, ca: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    get(url, { ca }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
    }).on('error', reject)
  })
}
