/**
 * No log line of any test may show a secret or content that the test used (daemon.md §6). Every stage on which a gateway
 * or a part of it logs has a watch: it is told what is confidential, sees what sessions say, and reads all lines at the
 * end. What it cannot see is a leak that is neither a secret in a usual form nor quoted from a session.
 */
import assert from 'node:assert/strict'
import type { Log, LogFields } from '../../src/base/log.ts'
import type { Action, Session } from '../../src/engine/session.ts'

/** Fields that tell names and addresses on purpose; content may hold the same ones. */
const PUBLIC: readonly string[] = [
  ...[
    'account',
    'user',
    'id',
    'messageId',
    'address',
    'host',
    'item',
    'uri',
    'recipients',
    'vaults',
    'keyIds',
    'sni',
    'peer',
    'local',
  ],
  ...['time', 'level', 'msg', 'listeners'],
]
/** Of sessions, kept to compare with: enough for any test's mail, not for its gigabytes. */
const MAX_CONTENT_CHARACTERS = 2 ** 20
const LINE_CHARACTERS = 20
const QUOTE_CHARACTERS = 12

export class LogWatch {
  /** For what runs in the test's own process. */
  readonly log: Log
  readonly #secrets = new Set<string>()
  #content = ''
  #own = ''

  constructor() {
    const logWith = (base: LogFields): Log => ({
      write: (level, msg, fields = {}) => {
        this.#own += `${JSON.stringify({ level, ...base, ...fields, msg })}\n`
      },
      child: (fields) => logWith({ ...base, ...fields }),
    })
    this.log = logWith({})
  }

  /** Reads its own log when all is over. Not in an `after`, which would keep those behind it from closing what they opened. */
  static forFile(): LogWatch {
    const watch = new LogWatch()
    process.once('exit', () => {
      try {
        watch.assertClean()
      } catch (error) {
        process.stderr.write(`${error}\n`)
        process.exitCode = 1
      }
    })
    return watch
  }

  /** @returns the first */
  secret(first: string | Uint8Array, ...more: (string | Uint8Array)[]): string {
    for (const one of [first, ...more]) {
      assert.ok(one.length >= 6, `"${one}" would be found in every log`)
      for (const form of formsOf(one)) this.#secrets.add(form)
    }
    return String(first)
  }

  /** What somebody said or wrote. */
  content(octets: string | Uint8Array): void {
    if (this.#content.length > MAX_CONTENT_CHARACTERS) return
    this.#content += typeof octets === 'string' ? octets : Buffer.from(octets).toString('latin1')
    // Pieces of different senders are no line together.
    this.#content += '\0'
  }

  /** The same session, overheard on its client's side, where all is plain. */
  session(inner: Session): Session {
    const heard = (actions: Action[]): Action[] => {
      for (const action of actions) if (action.do === 'send' && action.side === 'client') this.content(action.bytes)
      return actions
    }
    return {
      start: () => heard(inner.start()),
      step: (event) => {
        if (event.on === 'bytes' && event.side === 'client') this.content(event.bytes)
        return heard(inner.step(event))
      },
      wants: (side) => inner.wants(side),
    }
  }

  /** @param log absent: what was written in this process */
  assertClean(log: string = this.#own): void {
    const lines = this.#content.split(/[\r\n\0]+/)
    const starts = new Set(
      lines.filter((line) => line.length >= LINE_CHARACTERS).map((line) => line.slice(0, LINE_CHARACTERS)),
    )
    const subjects = lines.flatMap((line) => /^Subject: (.{9,} .*|.* .{9,})$/i.exec(line)?.[1] ?? [])
    for (const line of log.split('\n')) {
      for (const secret of [...this.#secrets, ...subjects]) {
        assert.ok(!line.includes(secret), `the log shows a secret, ${secret}: ${line}`)
      }
      for (const value of confidentialIn(line)) {
        for (let at = 0; at + LINE_CHARACTERS <= value.length; at++) {
          assert.ok(!starts.has(value.slice(at, at + LINE_CHARACTERS)), `the log shows content: ${line}`)
        }
        const isQuote = value.length >= QUOTE_CHARACTERS && this.#content.includes(value)
        assert.ok(!isQuote, `the log quotes a session: ${line}`)
      }
    }
  }
}

/** @param secrets longer than a few characters: short ones are in every log */
export function assertNoSecrets(log: string, secrets: readonly string[]): void {
  const watch = new LogWatch()
  for (const secret of secrets) watch.secret(secret)
  watch.assertClean(log)
}

/** As it is, and as logs, URLs and protocols write it. */
function formsOf(secret: string | Uint8Array): string[] {
  const octets = Buffer.from(secret as string)
  const unpadded = (text: string): string => text.replace(/=+$/, '')
  const coded = [unpadded(octets.toString('base64')), octets.toString('base64url'), octets.toString('hex')]
  if (typeof secret !== 'string') return coded
  return [secret, ...coded, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]
}

/** Texts of a line that nobody declared public. */
function confidentialIn(line: string): string[] {
  if (!line.startsWith('{')) return [line]
  const fields = Object.entries(JSON.parse(line) as Record<string, unknown>)
  return fields
    .filter(([name]) => !PUBLIC.includes(name))
    .flatMap(([, value]) => [value].flat().filter((one) => typeof one === 'string'))
}
