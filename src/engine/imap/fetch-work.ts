/**
 * FETCH where sealed messages may be among those asked for (imap.md §3). First it learns which are; when none is, the
 * client's own command goes up as it came. Else runs of plain messages are passed, and each sealed one is answered from
 * its opened content in the shape that the server gives (template.ts), in the server's order of messages.
 */
import { GatewayError } from '../../base/errors.ts'
import { ownerOf } from './answer-owner.ts'
import type { ClientCommand } from './command-reader.ts'
import { Cursor, stringAt } from './cursor.ts'
import { type Evidence, evidenceFor, knownEvidence } from './evidence.ts'
import { type FetchCommand, setsSeen } from './fetch-command.ts'
import { printItem } from './fetch-items.ts'
import type { MessageKind } from './mailbox.ts'
import { PrefixScan } from './plain-prefix.ts'
import { plainRun } from './plain-run.ts'
import { imapReply } from './reply.ts'
import type { FetchAnswer } from './response.ts'
import { type AnswerPlace, SealedAnswer } from './sealed-answer.ts'
import { isMark, isSealed, MARK_FIELDS } from './sealed-mark.ts'
import { countOf, printSets } from './sequence-set.ts'
import { changedFlags, lightPattern, unasked } from './template.ts'
import type { LiteralSink, Work, WorkHost } from './work.ts'

/** A command line of our own stays below what any server takes (RFC 7162 §4 asks for 8192). */
const MAX_SET_OCTETS = 7000
/** Messages learned about in a second question at once: their set fits a line. */
const MAX_UNSURE = 500
/** Messages asked for again at once: their set fits a line, were each a number by itself. */
const MAX_AGAIN = 600
/** Messages that may be newer than what is known of the mailbox, where it is asked without evidence. */
const MAX_BEYOND = 500
/** Messages of one FETCH whose numbers are kept; no mailbox has so many, but a server may say so for ever. */
const MAX_NUMBERS = 2_000_000
/** UIDs looked up one by one before it is cheaper to ask. */
const MAX_KNOWN = 2000
/** Sealed messages asked for ahead; each may hold an opened message until its turn comes. */
const MAX_AHEAD = 3

type Unit =
  | { readonly kind: 'plain'; readonly set: string }
  | {
      readonly kind: 'sealed'
      /** Sequence number, or UID in UID FETCH. */
      readonly number: number
      /** Null: not told. */
      readonly uid: number | null
      /** Null: none is kept for it; it is answered when its turn comes. */
      placed: AnswerPlace | null
    }

type State =
  | { readonly in: 'learning'; readonly tag: string }
  /** Learning and answering in one: plain messages go to the client at once, places are kept for the sealed ones. */
  | { readonly in: 'both'; readonly tag: string; readonly evidence: Evidence }
  | { readonly in: 'plain'; readonly tag: string }
  /** Sealed messages under way, in order; the first one speaks, the others wait with what they have. */
  | { readonly in: 'sealed'; readonly answers: SealedAnswer[] }
  | { readonly in: 'over' }

export class FetchWork implements Work {
  readonly #host: WorkHost
  readonly #fetch: FetchCommand
  readonly #verb: string
  /** The client's own command goes up instead: nothing here is sealed. */
  readonly #pass: (command: ClientCommand) => void
  #state: State = { in: 'over' }
  /** Found by learning, in the server's order. */
  #found: { number: number; uid: number | null; sealed: boolean }[] = []
  /** The next one last. */
  #units: Unit[] = []
  /** Answers taken of the question under way, and those that were too much to be held: they are asked for again. */
  #taken = 0
  #letGo: number[] = []
  /** Let go before, and not asked for since: they are behind those of the question under way. */
  #again: number[] = []
  #tooMuch = false
  /** Not answered, and not known to be plain or sealed. */
  #unsure: number[] = []
  /** We asked for the UID, the client did not. */
  #addsUidItem = false
  /** Of the questions that learn and answer in one; null: there was none. */
  #evidence: Evidence | null = null
  /** Text of the last tagged answer, behind the tag. */
  #final: Buffer = Buffer.from(' OK Fetch completed.\r\n')
  #failure: Buffer | GatewayError | null = null
  readonly #budget = { octets: 0 }
  /** Took the literal of the answer that is being read. */
  #sunkBy: SealedAnswer | null = null
  /** The first of the answers is on its way to the client. */
  #emitting = false
  #advancing = false
  readonly #scan: PrefixScan

  constructor(host: WorkHost, fetch: FetchCommand, pass: (command: ClientCommand) => void) {
    this.#host = host
    this.#fetch = fetch
    this.#verb = fetch.uid ? 'UID FETCH' : 'FETCH'
    this.#pass = pass
    this.#scan = new PrefixScan(host.mailbox.prefix)
  }

  get passing(): boolean {
    return this.#state.in === 'plain'
  }

  get takesLiterals(): boolean {
    return this.#state.in === 'sealed'
  }

  get wantsUpstream(): boolean {
    return this.#state.in !== 'sealed' || this.#state.answers.every((answer) => answer.wants)
  }

  start(): void {
    const { set, uid, modifiers } = this.#fetch
    const { mailbox } = this.#host
    if (uid && modifiers === '' && set.ranges !== null && countOf(set.ranges, MAX_KNOWN) < MAX_KNOWN) {
      const known = knownUids(set.ranges, (each) => mailbox.kind(each))
      if (known !== null) {
        this.#found = known
        this.#learned()
        return
      }
    }
    // An item that sets \Seen must not be asked before it is known that the message can be shown.
    if (this.#isSmall && !this.#host.keepOrder && !this.#fetch.items.some(setsSeen)) {
      this.#addsUidItem = this.#addsUid
      const { items } = this.#fetch
      const { upTo, beyond } = mailbox.prefix
      const isKnown = upTo > 0 && beyond <= MAX_BEYOND
      this.#askBoth(isKnown ? knownEvidence(items, upTo) : evidenceFor(items), set.text, modifiers)
      return
    }
    const tag = this.#host.nextTag()
    this.#state = { in: 'learning', tag }
    this.#host.toUpstream(
      `${tag} ${this.#verb} ${set.text} (UID ${MARK_FIELDS}${this.#wantsSizes ? ' RFC822.SIZE' : ''})${modifiers}\r\n`,
    )
  }

  #askBoth(evidence: Evidence, set: string, modifiers: string): void {
    const tag = this.#host.nextTag()
    this.#state = { in: 'both', tag, evidence }
    this.#evidence = evidence
    this.#taken = 0
    this.#tooMuch = false
    const uid = this.#addsUidItem ? 'UID ' : ''
    this.#host.toUpstream(`${tag} ${this.#verb} ${set} (${uid}${evidence.items})${modifiers}\r\n`)
  }

  /** No bodies: what the server says of a sealed message meanwhile costs little, and a second question for plain ones more. */
  get #isSmall(): boolean {
    return this.#fetch.items.every(
      (item) =>
        item.kind !== 'section' || (item.section.text !== null && item.section.text !== 'TEXT' && !isMark(item)),
    )
  }

  get #addsUid(): boolean {
    return !this.#fetch.uid && !this.#fetch.items.some((item) => item.kind === 'attribute' && item.text === 'UID')
  }

  /** Bodies are asked for: then a large sealed message must be known for one before it is read. */
  get #wantsSizes(): boolean {
    return this.#fetch.items.some(
      (item) => item.kind === 'section' && (item.section.text === null || item.section.text === 'TEXT'),
    )
  }

  /** @throws {GatewayError} BUFFER_EXCEEDED */
  #keep<T>(list: T[], each: T): void {
    if (list.length >= MAX_NUMBERS) throw new GatewayError('BUFFER_EXCEEDED', { reason: 'answers without end' })
    list.push(each)
  }

  literalSink(text: Buffer): LiteralSink | null {
    // One of an answer; a second one would be no answer to what we ask.
    if (this.#state.in !== 'sealed' || this.#sunkBy !== null) return null
    this.#sunkBy = ownerOf(this.#state.answers, text)
    return this.#sunkBy?.literalSink() ?? null
  }

  fetch(answer: FetchAnswer, bytes: Buffer, cut: boolean): boolean {
    const sunkBy = this.#sunkBy
    this.#sunkBy = null
    // Its octets are with one message: were the answer another one's, nobody may claim it.
    if (sunkBy !== null) return sunkBy.fetch(answer, bytes, cut)
    switch (this.#state.in) {
      case 'learning':
        return this.#learn(answer, bytes)
      case 'both':
        return this.#learnAndPass(this.#state.evidence, answer, bytes, cut)
      case 'sealed':
        return this.#state.answers.some((each) => each.fetch(answer, bytes, cut))
      default:
        return false
    }
  }

  answers(front: Buffer): number {
    if (this.#state.in !== 'both' || this.#holdsTooMuch) return 0
    const { mailbox } = this.#host
    const { shape } = this.#state.evidence
    const { octets, limitOctets } = this.#host.held
    const some = octets === 0 ? front : front.subarray(0, limitOctets - octets)
    const run = plainRun(some, shape, this.#addsUidItem, (uid, number) => {
      this.#taken++
      this.#scan.plain(number, uid)
      if (shape.upTo === null) mailbox.learn(uid, 'plain')
    })
    if (run === null) return 0
    this.#host.toClient(run.bytes)
    return run.octets
  }

  tagged(tag: string, ok: boolean, line: Buffer): void {
    const text = Buffer.from(line.subarray(tag.length))
    if (ok) this.#final = text
    else this.#failure ??= text
    switch (this.#state.in) {
      case 'sealed':
        for (const answer of [...this.#state.answers]) answer.tagged(tag)
        break
      case 'learning':
      case 'both':
      case 'plain':
        if (tag !== this.#state.tag) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'tag' })
        if (this.#state.in === 'both') this.#units.reverse()
        if (this.#state.in !== 'learning') this.#next()
        else if (!ok) this.#finish()
        else this.#learned()
        break
      case 'over':
        break
    }
  }

  continuation(): void {}

  expunged(number: number): void {
    this.#scan.stop()
    if (this.#state.in === 'sealed') for (const answer of this.#state.answers) answer.expunged(number)
  }

  vanished(ranges: readonly (readonly [number, number])[]): void {
    this.#scan.stop()
    if (this.#state.in === 'sealed') for (const answer of this.#state.answers) answer.vanished(ranges)
  }

  /** What waited flows on: those that are left are answered when their turn comes, by the numbers they then have. */
  placesGivenUp(): void {
    for (const unit of this.#units) if (unit.kind === 'sealed') unit.placed = null
    if (this.#state.in === 'sealed') for (const answer of this.#state.answers) answer.placeGivenUp()
  }

  dispose(): void {
    if (this.#state.in === 'sealed') for (const answer of this.#state.answers) answer.dispose()
    this.#state = { in: 'over' }
  }

  #learn(answer: FetchAnswer, bytes: Buffer): boolean {
    const mark = answer.items.find((item) => item.name === 'BODY[')
    if (mark === undefined) return false
    const { uid } = answer
    const sealed = isSealed(stringAt(bytes, mark.value[0]))
    this.#met(answer, sealed ? 'sealed' : 'plain')
    const number = this.#fetch.uid ? uid : answer.number
    if (number !== null) this.#keep(this.#found, { number, uid, sealed })
    const size = answer.items.find((item) => item.name === 'RFC822.SIZE')
    if (sealed && uid !== null && size !== undefined) {
      this.#host.mailbox.learnSealedSize(uid, new Cursor(bytes, size.value[0]).number())
    }
    const rest = unasked(answer, bytes, (item) => item === mark || item === size || item.name === 'UID')
    // With CHANGEDSINCE the server adds MODSEQ unasked; alone it is no news.
    const news = answer.items.some((item) => item.name === 'FLAGS')
    if (rest !== null && news) this.#host.toClient(rest)
    return true
  }

  #learnAndPass(evidence: Evidence, answer: FetchAnswer, bytes: Buffer, cut: boolean): boolean {
    const verdict = evidence.judge(answer, bytes, this.#addsUidItem)
    if (verdict === null) return false
    const { uid } = answer
    const number = this.#fetch.uid ? uid : answer.number
    // Too large to be held: what was left out may be the evidence.
    if (cut || verdict.is === 'unsure') {
      if (evidence.shape.upTo === null) {
        this.#scan.stop()
        if (number !== null) this.#keep(this.#unsure, number)
        this.#tellNews(answer, bytes)
        return true
      }
      // Newer than what is known: this one and those behind it are asked for again, with evidence.
      this.#evidence = evidenceFor(this.#fetch.items)
      this.#tooMuch = true
      if (number !== null) this.#keep(this.#letGo, number)
      this.#tellNews(answer, bytes)
      return true
    }
    this.#met(answer, verdict.is)
    if (this.#holdsTooMuch) {
      if (number !== null) this.#keep(this.#letGo, number)
      this.#tellNews(answer, bytes)
      return true
    }
    this.#taken++
    if (verdict.is === 'plain') for (const piece of verdict.pieces) this.#host.toClient(piece)
    else if (number !== null && !this.#stopped) {
      const pattern = lightPattern(Buffer.concat(verdict.pieces))
      this.#units.push({
        kind: 'sealed',
        number,
        uid,
        placed: { place: this.#host.place(pattern.bytes.length), pattern },
      })
    }
    return true
  }

  /**
   * Behind a sealed message's place answers wait for it. Those past the limit are let go, to be asked for again behind
   * what waits: the order stays the server's, however long the mailbox is.
   */
  get #holdsTooMuch(): boolean {
    const { octets, limitOctets } = this.#host.held
    this.#tooMuch ||= octets > limitOctets
    return this.#tooMuch
  }

  #met({ number, uid }: FetchAnswer, kind: MessageKind): void {
    const { mailbox, memory } = this.#host
    if (uid === null || kind === 'sealed') this.#scan.stop()
    else this.#scan.plain(number, uid)
    if (uid === null) return
    const wasKnown = uid <= mailbox.prefix.upTo
    mailbox.learn(uid, kind)
    if (wasKnown && kind === 'sealed') memory.keepPrefix(mailbox)
  }

  #remember(): void {
    if (this.#scan.end()) this.#host.memory.keepPrefix(this.#host.mailbox)
  }

  /** Flags that came with an answer that is ours, without having been asked for: somebody has changed them. */
  #tellNews(answer: FetchAnswer, bytes: Buffer): void {
    if (this.#fetch.items.some((item) => item.kind === 'attribute' && item.text === 'FLAGS')) return
    const news = changedFlags(answer, bytes)
    if (news !== null) this.#host.toClient(news)
  }

  #learned(): void {
    const found = this.#found
    this.#found = []
    if (this.#evidence === null && !found.some((each) => each.sealed)) {
      this.#state = { in: 'over' }
      this.#remember()
      this.#pass(this.#fetch.withoutVanished)
      return
    }
    this.#startUnits(found)
  }

  /** What is left of the set, if anything is. */
  #askAgain(): void {
    this.#again = this.#letGo.concat(this.#again)
    this.#letGo = []
    if (this.#again.length > 0 && this.#evidence !== null) {
      this.#askBoth(this.#evidence, this.#takeAgain(), this.#fetch.partModifiers)
    } else if (this.#unsure.length > 0 && !this.#stopped) {
      const [set] = printSets(this.#unsure.splice(0, MAX_UNSURE), MAX_SET_OCTETS)
      const tag = this.#host.nextTag()
      this.#state = { in: 'learning', tag }
      this.#host.toUpstream(`${tag} ${this.#verb} ${set} (UID ${MARK_FIELDS})\r\n`)
    } else this.#finish()
  }

  /** As many as may well be held: those that were the last time, and more where nothing had to be let go. */
  #takeAgain(): string {
    const count = Math.max(1, this.#tooMuch ? this.#taken : 2 * this.#taken)
    const sets = printSets(this.#again.slice(0, count), MAX_SET_OCTETS)
    if (sets.length === 1) {
      this.#again.splice(0, count)
      return sets[0]!
    }
    return printSets(this.#again.splice(0, MAX_AGAIN), MAX_SET_OCTETS)[0]!
  }

  #startUnits(found: readonly { number: number; uid: number | null; sealed: boolean }[]): void {
    const units: Unit[] = []
    let plain: number[] = []
    const flush = (): void => {
      for (const set of printSets(plain, MAX_SET_OCTETS)) units.push({ kind: 'plain', set })
      plain = []
    }
    for (const { number, uid, sealed } of found) {
      if (sealed) {
        flush()
        units.push({ kind: 'sealed', number, uid, placed: null })
      } else plain.push(number)
    }
    flush()
    this.#units = units.reverse()
    this.#next()
  }

  #next(): void {
    if (this.#stopped)
      for (const unit of this.#units.splice(0).reverse()) if (unit.kind === 'sealed') unit.placed?.place.fill(null)
    const unit = this.#units.pop()
    if (unit === undefined) {
      this.#askAgain()
      return
    }
    if (unit.kind === 'sealed') {
      this.#state = { in: 'sealed', answers: [] }
      this.#advancing = true
      this.#begin(unit)
      this.#advancing = false
      this.#advance()
      return
    }
    const { items, partModifiers } = this.#fetch
    const tag = this.#host.nextTag()
    this.#state = { in: 'plain', tag }
    this.#host.toUpstream(`${tag} ${this.#verb} ${unit.set} (${items.map(printItem).join(' ')})${partModifiers}\r\n`)
  }

  /** A failure that every further message would meet too. */
  get #stopped(): boolean {
    return this.#failure instanceof GatewayError && this.#failure.fault.retry
  }

  /**
   * Asks ahead for the sealed messages that follow, so that they don't cost a round trip each. Not where an item sets
   * \Seen: there the second question waits for the first one's result, behind messages that nobody could take yet.
   */
  #fill(): void {
    const state = this.#state
    if (state.in !== 'sealed' || this.#fetch.items.some(setsSeen)) return
    while (state.answers.length < MAX_AHEAD && !this.#stopped) {
      const unit = this.#units.at(-1)
      if (unit?.kind !== 'sealed') return
      this.#units.pop()
      this.#begin(unit)
    }
  }

  #begin(unit: Extract<Unit, { kind: 'sealed' }>): void {
    if (this.#state.in !== 'sealed') return
    const answer = new SealedAnswer(this.#host, this.#fetch, unit, this.#budget, () => this.#advance())
    this.#state.answers.push(answer)
    answer.start()
  }

  /** Lets those speak whose turn it is, and begins with those that follow. One may be ready as it begins. */
  #advance(): void {
    const state = this.#state
    if (state.in !== 'sealed' || this.#advancing) return
    this.#advancing = true
    do {
      this.#emitReady(state.answers)
      if (!this.#emitting) this.#fill()
    } while (!this.#emitting && state.answers[0]?.ready === true)
    this.#advancing = false
    if (state.answers.length === 0 && !this.#emitting) this.#next()
  }

  #emitReady(answers: SealedAnswer[]): void {
    for (let first = answers[0]; first?.ready === true && !this.#emitting; first = answers[0]) {
      this.#emitting = true
      first.emit((failure) => {
        this.#emitting = false
        answers.shift()
        this.#failure ??= failure
        // A large one was under way, with what the server said.
        this.#advance()
      })
    }
  }

  #finish(): void {
    this.#remember()
    this.#state = { in: 'over' }
    const { tag } = this.#fetch.command
    const failure = this.#failure
    if (failure instanceof GatewayError) this.#host.toClient(`${imapReply(tag, failure)}\r\n`)
    else this.#host.toClient(Buffer.concat([Buffer.from(tag, 'latin1'), failure ?? this.#final]))
    this.#host.finished()
  }
}

/** All UIDs of the ranges with what is known of them; null when one is not known. */
function knownUids(
  ranges: readonly (readonly [number, number])[],
  kind: (uid: number) => MessageKind | null,
): { number: number; uid: number; sealed: boolean }[] | null {
  // A set: what is named twice is answered once, as the server would.
  const known = new Map<number, { number: number; uid: number; sealed: boolean }>()
  for (const [low, high] of ranges) {
    for (let uid = low; uid <= high; uid++) {
      const each = kind(uid)
      if (each === null) return null
      known.set(uid, { number: uid, uid, sealed: each === 'sealed' })
    }
  }
  return [...known.values()].sort((a, b) => a.number - b.number)
}
