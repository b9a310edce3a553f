/**
 * A SEARCH with keys on what is sealed (imap.md §3). The server is asked which sealed messages could match at all; of
 * these the content keys are judged here, as far as they are opened, or may be (profile `search`). What they come to is
 * put in their place, and the server judges the rest of the program. At last it gets the client's own command, over the
 * plain messages and those that were found: so the answer has its form, under the client's tag.
 */
import { GatewayError } from '../../base/errors.ts'
import { Cursor, stringAt } from './cursor.ts'
import type { OpenRun } from './open-run.ts'
import { openWhole } from './opened.ts'
import { segmentsOf } from './outgoing.ts'
import type { Outline } from './outline.ts'
import { OutlineReader } from './outline-reader.ts'
import type { FetchAnswer } from './response.ts'
import { type SearchProgram, SearchText } from './search.ts'
import { holds, type Searched } from './search-match.ts'
import { printSets } from './sequence-set.ts'
import { changedFlags } from './template.ts'
import type { LiteralSink, Work, WorkHost } from './work.ts'

/** All that are sealed, and perhaps some that only look so: then they are opened as plain ones. */
const SEALED = 'OR HEADER X-VESMAIL-ID "" HEADER MESSAGE-ID ".m.ves.world"'
const MAX_FOUND = 1_000_000
/** A number, or `(MODSEQ n)`, between two spaces. */
const MAX_WORD_OCTETS = 64
/** More sealed messages than this are not looked at one by one. */
const MAX_CANDIDATES = 20_000
const MAX_SET_OCTETS = 6000
/** Sets of UIDs in one command: servers take 64 KiB lines at least. */
const MAX_SETS = 8
/** What keys come to, in different messages: with more of these a program is not worth asking. */
const MAX_VECTORS = 64

type State = 'candidates' | 'sizes' | 'judging' | 'matching' | 'final'

export class SearchWork implements Work {
  readonly #host: WorkHost
  readonly #program: SearchProgram
  readonly #opens: boolean
  readonly #answered: (ok: boolean, line: Buffer, incomplete: boolean) => void
  #state: State = 'candidates'
  #tag = ''
  #segments: Buffer[] = []
  /** Of the last question. */
  #uids: number[] = []
  #candidates: number[] = []
  readonly #sizes = new Map<number, number>()
  /** By what their content keys come to, as `10`: true, false. */
  readonly #vectors = new Map<string, number[]>()
  #toMatch: { readonly constants: readonly boolean[]; readonly set: string }[] = []
  readonly #matches: number[] = []
  #incomplete: boolean
  #octets = 0
  #outline: OutlineReader | null = null
  #opening: OpenRun | null = null
  #uid = 0
  /** Of the message being read: content, and whether all of the answer is there. */
  #body: Searched | null = null
  #bodyTagged = false
  /** The octets behind the last space of a `* SEARCH` that comes in pieces. */
  #tail = ''
  #over = false

  /**
   * @param opens messages that are not opened yet, within the budget
   * @param answered gets the tagged line
   */
  constructor(
    host: WorkHost,
    program: SearchProgram,
    opens: boolean,
    answered: (ok: boolean, line: Buffer, incomplete: boolean) => void,
  ) {
    this.#host = host
    this.#program = program
    this.#opens = opens
    this.#answered = answered
    this.#incomplete = program.content.some(({ asks }) => asks === null)
  }

  get passing(): boolean {
    return this.#state === 'final'
  }

  get wantsUpstream(): boolean {
    return this.#opening?.wants !== false
  }

  /** Whom `* SEARCH` is for. */
  get takesSearch(): boolean {
    return this.#state === 'candidates' || this.#state === 'matching'
  }

  start(): void {
    const optimistic = this.#program.content.map(({ negated }) => !negated)
    this.#search(`${SEALED} `, optimistic)
  }

  continuation(): void {
    const segment = this.#segments.shift()
    if (segment === undefined) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'continuation' })
    this.#host.toUpstream(segment)
  }

  /** `* SEARCH 3 5`, whole or in pieces. With MODSEQ among the keys `(MODSEQ n)` follows. */
  found(bytes: Buffer): void {
    const words = (this.#tail + bytes.toString('latin1')).split(' ')
    this.#tail = words.pop() ?? ''
    if (this.#tail.length > MAX_WORD_OCTETS) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'no number' })
    if (this.#tail.endsWith('\n')) {
      words.push(this.#tail.trim())
      this.#tail = ''
    }
    for (const word of words) {
      if (/^\d{1,10}$/.test(word) && this.#uids.length < MAX_FOUND) this.#uids.push(Number(word))
    }
  }

  tagged(tag: string, ok: boolean, line: Buffer): void {
    if (this.#outline !== null) {
      this.#outline.tagged(tag)
      return
    }
    if (this.#state === 'final' && tag === this.#program.command.tag) {
      this.#over = true
      this.#answered(ok, line, this.#incomplete)
      this.#host.finished()
      return
    }
    if (tag !== this.#tag) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'tag' })
    const uids = this.#uids
    this.#uids = []
    if (!ok) {
      // What the server does not understand of ours, it may of the client's.
      this.#incomplete = true
      this.#final()
      return
    }
    switch (this.#state) {
      case 'candidates':
        this.#incomplete ||= uids.length > MAX_CANDIDATES
        // The newest first: they are opened while the budget lasts.
        this.#candidates = uids.sort((a, b) => b - a).slice(0, MAX_CANDIDATES)
        this.#askSizes()
        break
      case 'sizes':
        this.#judge()
        break
      case 'judging':
        this.#bodyTagged = true
        this.#bodyRead()
        break
      case 'matching':
        for (const uid of uids) this.#matches.push(uid)
        this.#match()
        break
      case 'final':
        break
    }
  }

  literalSink(text: Buffer): LiteralSink | null {
    if (this.#state !== 'judging' || this.#outline !== null || this.#opening !== null) return null
    if (!/BODY\[\] ~?\{\d+\}\r?\n$/i.test(text.toString('latin1', Math.max(0, text.length - 40)))) return null
    const opening = this.#open()
    return (bytes, last) => {
      if (bytes.length > 0) opening.push(bytes)
      if (last) opening.end()
    }
  }

  fetch(answer: FetchAnswer, bytes: Buffer, cut: boolean): boolean {
    if (this.#state === 'sizes') {
      const size = answer.items.find((item) => item.name === 'RFC822.SIZE')
      if (size === undefined || answer.uid === null) return false
      if (this.#sizes.has(answer.uid)) this.#sizes.set(answer.uid, new Cursor(bytes, size.value[0]).number())
      this.#tellNews(answer, bytes)
      return true
    }
    if (answer.uid !== this.#uid || this.#state !== 'judging') return false
    if (this.#outline !== null) {
      const isTaken = this.#outline.fetch(answer, bytes, cut)
      if (isTaken) this.#tellNews(answer, bytes)
      return isTaken
    }
    const body = answer.items.find((item) => item.name === 'BODY[')
    if (body === undefined) return false
    if (this.#opening === null) {
      const opening = this.#open()
      opening.push(Buffer.from(stringAt(bytes, body.value[0])))
      opening.end()
    }
    this.#tellNews(answer, bytes)
    return true
  }

  /** Flags in an answer that is ours: somebody has changed them. */
  #tellNews(answer: FetchAnswer, bytes: Buffer): void {
    const news = changedFlags(answer, bytes)
    if (news !== null) this.#host.toClient(news)
  }

  expunged(): void {}
  vanished(): void {}

  dispose(): void {
    this.#over = true
    this.#opening?.drop()
    this.#outline?.dispose()
  }

  /** @param before goes before the keys, which content keys are constants in */
  #search(before: string, constants: readonly boolean[]): void {
    const { command, returnTo, keysAt } = this.#program
    this.#tag = this.#host.nextTag()
    const text = new SearchText(command).add(`${this.#tag} UID SEARCH `).copy(returnTo, keysAt).add(before)
    this.#send(text.keys(this.#program, constants).end())
  }

  #send({ text, literals }: ReturnType<SearchText['end']>): void {
    this.#segments = segmentsOf(text, literals, this.#host.literalPlus)
    this.continuation()
  }

  #askSizes(): void {
    const [set, more] = printSets(
      [...this.#candidates].sort((a, b) => a - b),
      MAX_SET_OCTETS,
    )
    this.#state = 'sizes'
    if (set === undefined || !this.#opens) {
      this.#judge()
      return
    }
    for (const uid of this.#candidates) this.#sizes.set(uid, 0)
    this.#tag = this.#host.nextTag()
    // Where the set is too long for a line, the rest is taken for small.
    const asked = more === undefined ? set : `1:*`
    this.#host.toUpstream(`${this.#tag} UID FETCH ${asked} (UID RFC822.SIZE)\r\n`)
  }

  #judge(): void {
    this.#state = 'judging'
    while (!this.#over) {
      const uid = this.#candidates.shift()
      if (uid === undefined) {
        this.#prepareMatching()
        return
      }
      this.#uid = uid
      const known = this.#known(uid)
      const vector = known === null ? null : this.#vectorOf(known)
      if (vector !== null || !this.#mayOpen(uid)) this.#take(uid, vector)
      else {
        this.#read(uid)
        return
      }
    }
  }

  #known(uid: number): Searched | null {
    const { opened, outlines } = this.#host
    const whole = opened.get(uid)
    if (whole !== null) return { root: whole.view.root, octets: whole.view.size.octets, content: whole.content }
    const outline = outlines.get(uid)
    return outline === null ? null : searchedOf(outline)
  }

  /** Null: something is not known. */
  #vectorOf(message: Searched): string | null {
    const { content, charset } = this.#program
    let vector = ''
    for (const key of content) {
      const is = holds(key, message, charset)
      if (is === null) return null
      vector += is ? '1' : '0'
    }
    return vector
  }

  #mayOpen(uid: number): boolean {
    const octets = this.#sizes.get(uid) ?? 0
    if (!this.#opens || this.#program.content.some(({ asks }) => asks === null)) return false
    return (
      this.#octets + (this.#wantsBodies ? octets : Math.min(octets, HEADER_OCTETS)) <=
      this.#host.settings.sizeBudgetOctets
    )
  }

  get #wantsBodies(): boolean {
    return this.#program.content.some(({ asks }) => asks?.what === 'body' || asks?.what === 'text')
  }

  #readWhole(uid: number): void {
    this.#octets += this.#sizes.get(uid) ?? 0
    this.#tag = this.#host.nextTag()
    this.#host.toUpstream(`${this.#tag} UID FETCH ${uid} (UID BODY.PEEK[])\r\n`)
  }

  #read(uid: number): void {
    if (this.#wantsBodies) {
      this.#readWhole(uid)
      return
    }
    const octets = this.#sizes.get(uid) ?? 0
    this.#octets += Math.min(octets, HEADER_OCTETS)
    const sizes = this.#program.content.some(({ asks }) => asks?.what === 'larger' || asks?.what === 'smaller')
    const isEnough = (outline: Outline): boolean => !sizes || outline.totalKnown
    const wish = { number: uid, uid: true, knownUid: uid, parts: false, sizes, isEnough }
    this.#outline = new OutlineReader(this.#host, wish, (result) => {
      this.#outline = null
      if (result instanceof GatewayError) this.#judged(null)
      else if (result !== null) {
        this.#host.outlines.put(uid, result)
        this.#judged(searchedOf(result))
      } else if (this.#octets + octets > this.#host.settings.sizeBudgetOctets) this.#judged(null)
      // Its header does not show by itself how the server reads it.
      else this.#readWhole(uid)
    })
    this.#outline.start()
  }

  #open(): OpenRun {
    const { transforms, out, settings, opened } = this.#host
    const uid = this.#uid
    const opening = openWhole(transforms.opener(), uid, out, settings.maxbufOctets, (result) => {
      this.#opening = null
      if (!(result instanceof GatewayError)) {
        opened.put(uid, result)
        this.#body = { root: result.view.root, octets: result.view.size.octets, content: result.content }
      }
      this.#bodyRead()
    })
    this.#opening = opening
    return opening
  }

  /** Goes on when its answer is over and its content open. */
  #bodyRead(): void {
    if (this.#over || !this.#bodyTagged || this.#opening !== null) return
    const body = this.#body
    this.#body = null
    this.#bodyTagged = false
    this.#judged(body)
  }

  #judged(message: Searched | null): void {
    this.#take(this.#uid, message === null ? null : this.#vectorOf(message))
    this.#judge()
  }

  #take(uid: number, vector: string | null): void {
    const known = vector === null ? undefined : (this.#vectors.get(vector) ?? [])
    if (vector === null || known === undefined || (known.length === 0 && this.#vectors.size >= MAX_VECTORS)) {
      this.#incomplete = true
      return
    }
    known.push(uid)
    this.#vectors.set(vector, known)
  }

  #prepareMatching(): void {
    this.#state = 'matching'
    for (const [vector, uids] of this.#vectors) {
      const constants = [...vector].map((bit) => bit === '1')
      for (const set of printSets(
        uids.sort((a, b) => a - b),
        MAX_SET_OCTETS,
      ))
        this.#toMatch.push({ constants, set })
    }
    this.#match()
  }

  #match(): void {
    const next = this.#toMatch.shift()
    if (next === undefined) this.#final()
    else this.#search(`UID ${next.set} `, next.constants)
  }

  /** The client's command: its program for plain messages, or one of the sealed ones that were found. */
  #final(): void {
    const { command, keysAt } = this.#program
    const sets = printSets(
      this.#matches.sort((a, b) => a - b),
      MAX_SET_OCTETS,
    )
    this.#incomplete ||= sets.length > MAX_SETS
    const found = sets.slice(0, MAX_SETS).map((set) => `UID ${set}`)
    this.#state = 'final'
    const text = new SearchText(command).copy(0, keysAt)
    for (const _ of found) text.add('OR ')
    text.add('(').keys(this.#program, null).add(` NOT (${SEALED}))`)
    for (const set of found) text.add(` ${set}`)
    this.#send(text.end())
  }
}

/** What a header costs at most, as far as the budget is concerned. */
const HEADER_OCTETS = 16 * 1024

function searchedOf(outline: Outline): Searched {
  const { view, totalKnown } = outline
  return { root: view.root, octets: totalKnown ? view.size.octets : null, content: null }
}
