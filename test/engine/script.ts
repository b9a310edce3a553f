/**
 * Sessions as scripts in memory: what each side says, line by line, with a fake clock and answers from a table.
 *
 *   C: octets of the client          S: what we say to the client
 *   U: what we say to the provider   P: octets of the provider
 *   ! event (drain, drain!, deadline, client gone, provider gone)
 *   # comment
 *
 * Lines carry CRLF; `C| ` and `P| ` are sent without it, and `\r \n \0 \xHH` in them stand for those octets. What we
 * say has to be told in full before the next input: nothing may be left over.
 */
import assert from 'node:assert/strict'
import { GatewayError } from '../../src/base/errors.ts'
import type {
  Action,
  AnswerOf,
  AskOf,
  Event,
  QuestionKind,
  Session,
  SessionStart,
  Side,
} from '../../src/engine/session.ts'

/** What comes back for each question: a value, a GatewayError to refuse, `HOLD` to answer later by {@link Player.release}. */
export type Answers = {
  readonly [K in QuestionKind]?: (ask: AskOf<K>) => AnswerOf<K> | GatewayError | typeof HOLD
}
export const HOLD = Symbol('answered later')

export const START: SessionStart = {
  host: 'gw.example',
  client: { address: '192.0.2.7', port: 4711 },
  local: { address: '192.0.2.1', port: 587 },
  tls: true,
  tlsLevel: 'high',
  version: '0.1.0',
  nowMs: () => Date.UTC(2026, 10, 24, 12, 0, 0),
  random: (octets) => Buffer.alloc(octets, 7),
  maxbufOctets: 1024 * 1024,
}

interface Held {
  readonly id: number
  readonly kind: QuestionKind
  readonly ask: unknown
}

export class Player {
  readonly session: Session
  /** Octets a side's input comes in; null = whole lines together. */
  readonly #chunk: number | null
  readonly #answers: Answers
  readonly output: Record<Side, string> = { client: '', upstream: '' }
  readonly asked: { readonly kind: QuestionKind; readonly ask: unknown }[] = []
  readonly logs: { readonly event: string; readonly fields: Record<string, unknown> }[] = []
  readonly held: Held[] = []
  /** What was told to the spool, octets aside. */
  readonly spooled: string[] = []
  deadlineMs: number | null = null
  hungUp: 'no' | 'finished' | 'aborted' = 'no'
  closed: Extract<Action, { do: 'close' }>['why'] | null = null

  constructor(session: Session, answers: Answers = {}, chunk: number | null = null) {
    this.session = session
    this.#answers = answers
    this.#chunk = chunk
    this.#perform(session.start())
  }

  step(event: Event): void {
    assert(this.closed === null, `an event after close: ${JSON.stringify(event)}`)
    this.#perform(this.session.step(event))
  }

  /** Octets from a side, in chunks; what comes after the session closed is dropped, as the driver does. */
  feed(side: Side, octets: Buffer): void {
    const size = this.#chunk ?? Math.max(octets.length, 1)
    for (let at = 0; at < octets.length && this.closed === null; at += size) {
      if (side === 'upstream' && this.hungUp !== 'no') return
      this.step({ on: 'bytes', side, bytes: Buffer.from(octets.subarray(at, at + size)) })
    }
  }

  /** Answers the first held question of this kind. */
  release(kind: QuestionKind, answer: unknown): void {
    const at = this.held.findIndex((held) => held.kind === kind)
    assert(at >= 0, `no held question ${kind}`)
    const [{ id }] = this.held.splice(at, 1) as [Held]
    this.step(answer instanceof GatewayError ? { on: 'refused', id, error: answer } : { on: 'answer', id, answer })
  }

  /** Takes what we said to a side; fails where it is another text. */
  expect(side: Side, text: string): void {
    assert.equal(this.output[side], text, `said to the ${side}`)
    this.output[side] = ''
  }

  play(script: string): this {
    let at = 0
    const lines = script
      .split('\n')
      .map((line) => line.trimStart())
      .filter((line) => line !== '' && !line.startsWith('#'))
    while (at < lines.length) {
      const group = (prefixes: string): string[] => {
        const from = at
        while (at < lines.length && prefixes.includes(lines[at]![0]!)) at++
        return lines.slice(from, at)
      }
      const kind = lines[at]![0]!
      if (kind === 'S' || kind === 'U') {
        const said = group('SU')
        const of = (side: string): string =>
          said
            .filter((line) => line[0] === side)
            .map((line) => `${octetsOf(line.slice(3))}\r\n`)
            .join('')
        this.expect('client', of('S'))
        this.expect('upstream', of('U'))
        continue
      }
      this.expect('client', '')
      this.expect('upstream', '')
      if (kind === 'C' || kind === 'P') {
        const octets = group(kind)
          .map((line) => octetsOf(line.slice(3)) + (line[1] === '|' ? '' : '\r\n'))
          .join('')
        this.feed(kind === 'C' ? 'client' : 'upstream', Buffer.from(octets, 'latin1'))
      } else if (kind === '!') {
        this.#event(lines[at++]!.slice(1).trim())
      } else assert.fail(`script: ${lines[at]}`)
    }
    this.expect('client', '')
    this.expect('upstream', '')
    return this
  }

  #event(name: string): void {
    if (name === 'drain') this.step({ on: 'drain', forced: false })
    else if (name === 'drain!') this.step({ on: 'drain', forced: true })
    else if (name === 'deadline') this.step({ on: 'deadline' })
    else if (name === 'client gone') this.step({ on: 'closed', side: 'client', error: null })
    else if (name === 'provider gone') this.step({ on: 'closed', side: 'upstream', error: null })
    else assert.fail(`script: ! ${name}`)
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      if (this.closed !== null) assert.fail(`an action after close: ${action.do}`)
      switch (action.do) {
        case 'send':
          if (action.side === 'client' || this.hungUp === 'no')
            this.output[action.side] += action.bytes.toString('latin1')
          break
        case 'ask': {
          this.asked.push({ kind: action.kind, ask: action.ask })
          if (action.kind === 'connect') this.hungUp = 'no'
          const answer = (this.#answers[action.kind] as ((ask: unknown) => unknown) | undefined)?.(action.ask)
          if (answer === undefined) assert.fail(`no answer for ${action.kind}`)
          if (answer === HOLD) this.held.push({ id: action.id, kind: action.kind, ask: action.ask })
          else if (answer instanceof GatewayError) this.#later.push({ on: 'refused', id: action.id, error: answer })
          else this.#later.push({ on: 'answer', id: action.id, answer })
          break
        }
        case 'deadline':
          this.deadlineMs = action.ms
          break
        case 'log':
          this.logs.push({ event: action.event, fields: action.fields })
          break
        case 'hang-up':
          this.hungUp = action.abort ? 'aborted' : 'finished'
          break
        case 'spool':
          if (action.step !== 'octets') this.spooled.push(action.step)
          break
        case 'close':
          this.closed = action.why
          break
      }
    }
    for (let event = this.#later.shift(); event !== undefined; event = this.#later.shift()) {
      if (this.closed === null) this.#perform(this.session.step(event))
    }
  }

  /** Answers come after the step that asked, as with the driver. */
  readonly #later: Event[] = []
}

/** Latin-1 string: an octet a character, so that `\xff` and UTF-8 both survive. */
function octetsOf(text: string): string {
  return Buffer.from(text, 'utf8')
    .toString('latin1')
    .replace(/\\(?:x([0-9a-fA-F]{2})|([rnt0\\]))/g, (_, hex: string | undefined, name: string | undefined) =>
      hex !== undefined
        ? String.fromCharCode(Number.parseInt(hex, 16))
        : { r: '\r', n: '\n', t: '\t', 0: '\0', '\\': '\\' }[name!]!,
    )
}
