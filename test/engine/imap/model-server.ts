/**
 * A server in memory for one selected mailbox: FETCH and UID FETCH of what it holds, and whatever untagged responses the
 * test lets slip in between, where a server may send them. Answers are printed by the same view as ours: what is tested
 * with it is who gets which answer, not how it looks.
 */
import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { type FetchItem, parseFetchItems } from '../../../src/engine/imap/fetch-items.ts'
import { parseSet } from '../../../src/engine/imap/sequence-set.ts'
import type { MessageView } from '../../../src/engine/imap/view/message-view.ts'
import { StructureScanner } from '../../../src/engine/imap/view/scanner.ts'
import { answerContent } from '../../../src/engine/imap/view-answer.ts'

export interface Message {
  readonly uid: number
  readonly octets: Buffer
  flags: string
}

export class ModelServer {
  /** Of the selected mailbox. */
  messages: Message[]
  /** Others that can be selected; by name, with their UIDVALIDITY. */
  readonly mailboxes = new Map<string, { readonly messages: Message[]; readonly uidValidity: number }>()
  /** QRESYNC is on: messages vanish by UID, and FETCH answers always tell it. */
  vanishes = false
  /** Octets of all answers. */
  sentOctets = 0
  /** Called before each response; gives lines to slip in. `expunge`: may EXPUNGE be among them? */
  readonly news: (expunge: boolean) => string

  constructor(messages: Message[], news: (expunge: boolean) => string) {
    this.messages = messages
    this.news = news
  }

  /** One command line. @returns the whole answer */
  answer(line: string): string {
    const answer = this.#answer(line)
    this.sentOctets += answer.length
    return answer
  }

  #answer(line: string): string {
    const [, tag, name, args] = /^(\S+) (UID FETCH|FETCH|\S+) ?(.*)$/.exec(line)!
    if (name === 'SELECT' || name === 'EXAMINE') return this.#select(tag!, name, args!)
    if (name !== 'FETCH' && name !== 'UID FETCH') return `${this.news(true)}${tag} OK ${name} done\r\n`
    const uid = name === 'UID FETCH'
    const cursor = new Cursor(Buffer.from(`${args}\r\n`, 'latin1'))
    const { text } = parseSet(cursor)
    cursor.space()
    const items = parseFetchItems(cursor)
    let out = ''
    for (const message of this.messages.filter((each, i) => holds(text, uid ? each.uid : i + 1))) {
      out += this.news(uid)
      const number = this.messages.indexOf(message) + 1
      if (number > 0) out += fetchAnswer(number, message, items, uid)
    }
    return `${out}${this.news(uid)}${tag} OK ${name} done\r\n`
  }

  #select(tag: string, name: string, mailbox: string): string {
    const selected = this.mailboxes.get(mailbox)
    this.messages = selected?.messages ?? []
    if (selected === undefined) return `${tag} NO no such mailbox\r\n`
    const mode = name === 'SELECT' ? 'READ-WRITE' : 'READ-ONLY'
    return (
      `* ${this.messages.length} EXISTS\r\n* OK [UIDVALIDITY ${selected.uidValidity}] x\r\n${this.news(true)}` +
      `${tag} OK [${mode}] ${name} done\r\n`
    )
  }

  expunge(number: number): string {
    const [gone] = this.messages.splice(number - 1, 1)
    if (this.vanishes) return `* VANISHED ${gone!.uid}\r\n`
    return `* ${number} EXPUNGE\r\n`
  }
}

const views = new WeakMap<Buffer, MessageView>()

function viewOf(octets: Buffer): MessageView {
  const known = views.get(octets)
  if (known !== undefined) return known
  const scanner = new StructureScanner()
  for (let at = 0; at < octets.length; at += 65_536) scanner.push(octets.subarray(at, at + 65_536))
  const view = scanner.end()
  views.set(octets, view)
  return view
}

export function fetchAnswer(number: number, message: Message, items: readonly FetchItem[], uid: boolean): string {
  const view = viewOf(message.octets)
  const asked = items.some((item) => item.kind === 'attribute' && item.text === 'UID')
  const values = items.map((item) => {
    if (item.kind !== 'attribute') return answerContent(view, message.octets, item).toString('latin1')
    return item.text === 'UID' ? `UID ${message.uid}` : `FLAGS (${message.flags})`
  })
  return `* ${number} FETCH (${[...(uid && !asked ? [`UID ${message.uid}`] : []), ...values].join(' ')})\r\n`
}

function holds(set: string, number: number): boolean {
  return set.split(',').some((range) => {
    const [low = '', high = low] = range.split(':')
    return Number(low) <= number && (high === '*' || number <= Number(high))
  })
}
