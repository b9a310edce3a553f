/**
 * SMTP replies (RFC 5321 §4.2): the framer that collects the lines of one from a provider, and the printer. Texts are
 * kept as Latin-1 strings, an octet a character, so that what a provider says in whatever charset passes unchanged.
 */
import { GatewayError } from '../../base/errors.ts'
import { LineFramer } from './line-framer.ts'

/** smtp.md §5 */
const MAX_REPLY_OCTETS = 256 * 1024

export interface Reply {
  /** 200–599 */
  readonly code: number
  /** At least one, without code and line end; Latin-1. */
  readonly lines: readonly string[]
}

export class ReplyFramer {
  readonly #lines = new LineFramer(MAX_REPLY_OCTETS)
  #code = 0
  #texts: string[] = []
  #octets = 0

  get length(): number {
    return this.#lines.length
  }

  push(bytes: Buffer): void {
    this.#lines.push(bytes)
  }

  /**
   * Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
   * @returns null = not complete yet
   * @throws GatewayError UPSTREAM_UNEXPECTED for what is no reply, or one too long: in sync no more
   */
  next(): Reply | null {
    for (let line = this.#nextLine(); line !== null; line = this.#nextLine()) {
      const text = line.toString('latin1')
      this.#octets += line.length + 2
      const form = /^([2-5][0-9]{2})(?:([ -])(.*))?$/s.exec(text)
      if (form === null || this.#octets > MAX_REPLY_OCTETS) throw unexpected('no SMTP reply')
      const code = Number(form[1])
      if (this.#texts.length > 0 && code !== this.#code) throw unexpected('codes differ within a reply')
      this.#code = code
      // A bare CR would be a line end, and so a reply of its own, for some clients.
      this.#texts.push((form[3] ?? '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, ' '))
      if (form[2] === '-') continue
      const reply = { code, lines: this.#texts }
      this.#texts = []
      this.#octets = 0
      return reply
    }
    return null
  }

  #nextLine(): Buffer | null {
    try {
      return this.#lines.next()
    } catch (error) {
      throw unexpected('reply too long', error)
    }
  }
}

/** One reply, each line with the code, Latin-1 to octets. */
export function printReply(reply: Reply): Buffer {
  const last = reply.lines.length - 1
  const text = reply.lines.map((line, at) => `${reply.code}${at < last ? '-' : ' '}${line}\r\n`).join('')
  return Buffer.from(text, 'latin1')
}

/** A reply of ours. @param lines any characters; octets of their UTF-8 go out */
export function replyOf(code: number, ...lines: string[]): Reply {
  return { code, lines: lines.map(asLatin1) }
}

/** From the `451 4.3.0` form of the table of faults. */
export function replyOfFault(codes: string, ...lines: string[]): Reply {
  const [code = '451', enhanced] = codes.split(' ')
  return replyOf(Number(code), ...lines.map((line) => (enhanced === undefined ? line : `${enhanced} ${line}`)))
}

/** The same reply and one more line of ours, under the enhanced code that the reply has (RFC 2034 §4: on every line). */
export function withLine(reply: Reply, line: string): Reply {
  const enhanced = enhancedCode(reply.lines.at(-1) ?? '')
  return { code: reply.code, lines: [...reply.lines, asLatin1(enhanced === null ? line : `${enhanced} ${line}`)] }
}

/** For a client that was promised enhanced codes, from a provider that knows none: `x.0.0` (RFC 3463 §2). */
export function withEnhancedCode(reply: Reply): Reply {
  const kind = Math.floor(reply.code / 100)
  if (kind === 3) return reply
  return {
    code: reply.code,
    lines: reply.lines.map((line) => (enhancedCode(line) === null ? `${kind}.0.0 ${line}` : line)),
  }
}

export function isPositive(reply: Reply): boolean {
  return reply.code >= 200 && reply.code < 300
}

function enhancedCode(line: string): string | null {
  return /^([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)/.exec(line)?.[1] ?? null
}

function asLatin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1')
}

function unexpected(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('UPSTREAM_UNEXPECTED', { reason }, cause)
}
