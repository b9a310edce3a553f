/**
 * A message with an attachment of 1 GiB, sealed, at a server in memory (its octets in a file): read whole, in ranges and
 * by its structure and part. What comes is compared, and what the session holds meanwhile is measured after a collection:
 * at most 4 × maxbuf + 1 MiB (imap.md §5). Batches are answered as late as may be, as a busy pool would.
 * `VESMAIL_TEST_MIB`: size of the attachment.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Cursor } from '../../src/engine/imap/cursor.ts'
import { parseFetchItems } from '../../src/engine/imap/fetch-items.ts'
import { sealTransforms } from '../../src/engine/imap/seal-transforms.ts'
import { answerItem, type ViewItem } from '../../src/engine/imap/view/answer.ts'
import type { MessageView } from '../../src/engine/imap/view/message-view.ts'
import { StructureScanner } from '../../src/engine/imap/view/scanner.ts'
import { runBatch } from '../../src/engine/seal/batch.ts'
import type { Action, Ask, Event, Session } from '../../src/engine/session.ts'
import type { TransformAction } from '../../src/engine/transform.ts'
import { KEY, Stage } from '../engine/imap/stage.ts'
import { sealAnswer, sealerFor } from '../engine/seal/through.ts'

const MiB = 1024 * 1024
const ATTACHMENT_OCTETS = Number(process.env.VESMAIL_TEST_MIB ?? 1024) * MiB
const MAXBUF_OCTETS = MiB
const ALLOWED_OCTETS = 4 * MAXBUF_OCTETS + MiB
const READ_OCTETS = 64 * 1024
/** Between two looks at the memory. */
const LOOK_OCTETS = Math.ceil(ATTACHMENT_OCTETS / 24)
const RANGE_OCTETS = 64 * 1024

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** So that memory which is given back late does not count: what lives after a collection, and one for buffers. */
function held(): number {
  collect()
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const HEAD = Buffer.from(
  'From: a@example.com\r\nMessage-ID: <long@example.com>\r\nMIME-Version: 1.0\r\n' +
    'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n' +
    '--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n',
)
const TAIL = Buffer.from('\r\n--b--\r\n')

/** The attachment's text. */
function* attachment(octets: number): Generator<Buffer> {
  const plain = Buffer.alloc(57 * 1000)
  for (let done = 0, turn = 0; done < octets; done += plain.length, turn++) {
    for (let i = 0; i < plain.length; i += 97) plain[i] = (turn * 31 + i) & 255
    const lines = plain.toString('base64').match(/.{76}/g)!
    yield Buffer.from(`${turn > 0 ? '\r\n' : ''}${lines.join('\r\n')}`, 'latin1')
  }
}

interface Sealed {
  readonly file: SealedFile
  /** Of the message, and of its second part. */
  readonly digests: { readonly '': string; readonly '2': string }
}

function sealed(octets: number): Sealed {
  const [whole, part] = [createHash('sha1'), createHash('sha1')]
  const message = function* (): Generator<Buffer> {
    whole.update(HEAD)
    yield Buffer.from(HEAD)
    for (const piece of attachment(octets)) {
      whole.update(piece)
      part.update(piece)
      yield piece
    }
    whole.update(TAIL)
    yield Buffer.from(TAIL)
  }
  const file = new SealedFile(message())
  return { file, digests: { '': whole.digest('hex'), '2': part.digest('hex') } }
}

/** The sealed message, in a file without a name. */
class SealedFile {
  readonly #file: number
  readonly #directory = mkdtempSync(join(tmpdir(), 'vm-large-'))
  octets = 0
  readonly view: MessageView

  constructor(message: Iterable<Buffer>) {
    const name = join(this.#directory, 'sealed')
    this.#file = openSync(name, 'wx+', 0o600)
    unlinkSync(name)
    const scanner = new StructureScanner()
    const sealer = sealerFor({ options: { settings: { maxbufOctets: MAXBUF_OCTETS } } })
    const perform = (actions: TransformAction[]): void => {
      // What an answer brings stands behind what is there already.
      const queue = [...actions]
      for (const action of queue) {
        if (action.do === 'write') {
          writeSync(this.#file, action.bytes)
          this.octets += action.bytes.length
          scanner.push(action.bytes)
        } else if (action.do === 'ask') {
          const answer = action.kind === 'batch' ? runBatch(action.ask) : sealAnswer({ key: KEY })
          queue.push(...sealer.answer(action.id, answer))
        }
      }
    }
    for (const piece of message) perform(sealer.push(piece))
    perform(sealer.end())
    this.view = scanner.end()
  }

  *read(start: number, end: number): Generator<Buffer> {
    for (let at = start; at < end; ) {
      const bytes = Buffer.allocUnsafeSlow(Math.min(READ_OCTETS, end - at))
      at += readSync(this.#file, bytes, 0, bytes.length, at)
      yield bytes
    }
  }

  close(): void {
    closeSync(this.#file)
    rmSync(this.#directory, { recursive: true })
  }
}

/** A server with the one message, UID 7, and a client, with the session between them. */
class Lane {
  readonly #session: Session
  readonly #file: SealedFile
  /** What the server still says. */
  readonly #answers: Generator<Buffer>[] = []
  readonly #asked: Ask[] = []
  #client: (bytes: Buffer) => void = () => {}
  #toServer = ''
  readonly #before: number
  #sinceLook = 0
  /** Held by the session at most. */
  most = 0
  fromServer = 0

  constructor(file: SealedFile) {
    this.#file = file
    const stage = Stage.ready({
      settings: { maxbufOctets: MAXBUF_OCTETS, sizes: 'exact' },
      transforms: sealTransforms({ host: 'proxy.test', random: (octets) => Buffer.alloc(octets, 7) }),
    })
    this.#session = stage.session
    this.#step({ on: 'bytes', side: 'client', bytes: Buffer.from('s SELECT INBOX\r\n') })
    this.#toServer = ''
    const selected = Buffer.from('* 1 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\ns OK done\r\n')
    this.#step({ on: 'bytes', side: 'upstream', bytes: selected })
    this.#before = held()
  }

  /** @param take gets all that the client gets */
  ask(command: string, take: (bytes: Buffer) => void): void {
    this.#client = take
    this.#step({ on: 'bytes', side: 'client', bytes: Buffer.from(`c ${command}\r\n`) })
    for (;;) {
      this.#answer()
      const [answer] = this.#answers
      const next = answer !== undefined && this.#session.wants('upstream') ? answer.next() : null
      if (next?.done === true) this.#answers.shift()
      else if (next !== null) {
        this.fromServer += next.value.length
        this.#sinceLook += next.value.length
        this.#step({ on: 'bytes', side: 'upstream', bytes: next.value })
        if (this.#sinceLook >= LOOK_OCTETS) this.look()
      } else {
        // Late: only when nothing else can go on.
        const ask = this.#asked.shift()
        if (ask === undefined) return
        this.#step({ on: 'answer', id: ask.id, answer: answerOf(ask) })
      }
    }
  }

  look(): void {
    this.#sinceLook = 0
    this.most = Math.max(this.most, held() - this.#before)
  }

  #step(event: Event): void {
    for (const action of this.#session.step(event)) this.#perform(action)
  }

  #perform(action: Action): void {
    if (action.do === 'ask') this.#asked.push(action)
    else if (action.do === 'close') assert.fail(`ended: ${action.why}`)
    else if (action.do === 'send' && action.side === 'client') this.#client(action.bytes)
    else if (action.do === 'send') this.#toServer += action.bytes.toString('latin1')
  }

  #answer(): void {
    const lines = this.#toServer.split('\r\n')
    this.#toServer = lines.pop() ?? ''
    for (const line of lines) this.#answers.push(this.#fetch(line))
  }

  *#fetch(line: string): Generator<Buffer> {
    const [, tag = '', args = ''] = /^(\S+) UID FETCH 7 (.*)$/.exec(line) ?? assert.fail(line)
    const items = parseFetchItems(new Cursor(Buffer.from(`${args}\r\n`, 'latin1')))
    yield Buffer.from('* 1 FETCH (')
    for (const [i, item] of items.entries()) {
      if (i > 0) yield Buffer.from(' ')
      if (item.kind === 'attribute') yield Buffer.from(item.text === 'UID' ? 'UID 7' : 'FLAGS ()')
      else {
        for (const piece of answerItem(this.#file.view, item as ViewItem)) {
          if ('bytes' in piece) yield Buffer.from(piece.bytes)
          else yield* this.#file.read(piece.start, piece.end)
        }
      }
    }
    yield Buffer.from(`)\r\n${tag} OK done\r\n`)
  }
}

function answerOf(ask: Ask): unknown {
  if (ask.kind === 'batch') return runBatch(ask.ask)
  if (ask.kind === 'open-key') return { key: KEY }
  if (ask.kind === 'sizes') return { sizes: null }
  return assert.fail(ask.kind)
}

/** Passes the literal of an answer to BODY[…] on, in order; what is around it is dropped. */
class Literal {
  readonly #take: (bytes: Buffer) => void
  #head = ''
  #left = -1
  octets = 0

  constructor(take: (bytes: Buffer) => void) {
    this.#take = take
  }

  push(bytes: Buffer): void {
    if (this.#left < 0) {
      this.#head += bytes.toString('latin1')
      const match = /BODY\[[^\]]*\]\S* \{(\d+)\}\r\n/.exec(this.#head)
      if (match === null) return
      const rest = Buffer.from(this.#head.slice(match.index + match[0].length), 'latin1')
      this.#left = Number(match[1])
      this.#give(rest)
    } else this.#give(bytes)
  }

  #give(bytes: Buffer): void {
    const own = bytes.subarray(0, this.#left)
    this.#left -= own.length
    this.octets += own.length
    this.#take(own)
  }
}

/** Reads a section, in one go or range after range. */
function read({ file, digests }: Sealed, section: '' | '2', rangeOctets: number | null): { lane: Lane; note: string } {
  const lane = new Lane(file)
  const hash = createHash('sha1')
  let octets = 0
  const take = (bytes: Buffer): void => {
    octets += bytes.length
    hash.update(bytes)
  }
  const one = (partial: string): number => {
    const literal = new Literal(take)
    lane.ask(`UID FETCH 7 (UID BODY.PEEK[${section}]${partial})`, (bytes) => literal.push(bytes))
    return literal.octets
  }
  if (section !== '') lane.ask('UID FETCH 7 (UID BODYSTRUCTURE)', () => {})
  if (rangeOctets === null) one('')
  else for (let at = 0, got = rangeOctets; got === rangeOctets; at += got) got = one(`<${at}.${rangeOctets}>`)
  lane.look()
  assert.equal(hash.digest('hex'), digests[section])
  const ratio = lane.fromServer / octets
  assert.ok(ratio < 1.1, `${ratio} octets from the server for one`)
  return { lane, note: `${(lane.most / MiB).toFixed(2)} MiB held, ${ratio.toFixed(3)} up for 1 down` }
}

const WAYS = [
  ['whole', '', null],
  ['as a part', '2', null],
  ['in ranges', '', RANGE_OCTETS],
  ['in ranges of its part', '2', RANGE_OCTETS],
  ['in large ranges of its part', '2', 5 * MiB],
] as const

describe('a message with a very large attachment', { timeout: 900_000 }, () => {
  let large: Sealed
  before(() => {
    // Code that is compiled in between is nobody's memory.
    const small = sealed(8 * MiB)
    for (const [, section, rangeOctets] of WAYS) read(small, section, rangeOctets)
    small.file.close()
    large = sealed(ATTACHMENT_OCTETS)
  })
  after(() => large.file.close())

  for (const [name, section, rangeOctets] of WAYS) {
    it(`comes ${name}`, (t) => {
      const { lane, note } = read(large, section, rangeOctets)
      t.diagnostic(note)
      assert.ok(lane.most <= ALLOWED_OCTETS, note)
    })
  }
})
