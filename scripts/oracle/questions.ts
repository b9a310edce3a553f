/**
 * What the oracle asks about one message: every FETCH item in every form, chosen by the message's own structure, and
 * places where there is nothing.
 */
import type { MessageView, PartView } from '../../src/engine/imap/view/message-view.ts'
import { findPart, resolveSection } from '../../src/engine/imap/view/sections.ts'

export interface Question {
  readonly uid: boolean
  /** As it stands in the command, parentheses included where needed. */
  readonly items: string
}

/** Deeper parts are asked in no other way. */
const MAX_DEPTH = 4
/** Of a message with very many parts the first and the last are asked. */
const MAX_PATHS = 60

const FIELDS = [
  '(SUBJECT)',
  '(From to CC Date Message-ID References In-Reply-To)',
  '("subject" Content-Type Content-Transfer-Encoding)',
  '(X-None "X-Odd name")',
  '(Received DKIM-Signature Subject Subject)',
]

/**
 * Asked of the server beforehand: once it has a field in its cache it answers always alike. (Of a header whose last line
 * has no end, the first answer differs.)
 */
export const WARMING = `(${FIELDS.map((names) => `BODY.PEEK[HEADER.FIELDS ${names}]`).join(' ')} BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])`

const COMBINATIONS = [
  // Thunderbird, iOS, mutt, Evolution, imapflow, mbsync (../shared/transcripts)
  '(UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])',
  '(BODYSTRUCTURE UID BODY.PEEK[HEADER])',
  '(UID ENVELOPE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (References)])',
  '(RFC822.SIZE RFC822.HEADER)',
  '(UID RFC822.SIZE BODY.PEEK[]<0.393216>)',
  '(BODY.PEEK[TEXT] ENVELOPE UID BODYSTRUCTURE BODY RFC822.SIZE)',
  '(BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[HEADER] BODY.PEEK[1]<0.10>)',
  '(ENVELOPE ENVELOPE BODY BODY BODYSTRUCTURE RFC822.SIZE RFC822.SIZE)',
  '(BODY.PEEK[HEADER.FIELDS.NOT (Subject)] BODY.PEEK[HEADER.FIELDS (Subject)]<3.20> RFC822.HEADER)',
  '(UID INTERNALDATE FLAGS RFC822.SIZE)',
  'FAST',
  'ALL',
  'FULL',
]

/** Set \Seen: asked last, so that the answers before them do not depend on it. */
const SEEING = [
  'BODY[HEADER.FIELDS (SUBJECT)]',
  'RFC822',
  'RFC822.TEXT',
  'BODY[]',
  'BODY[TEXT]',
  '(RFC822.TEXT RFC822.SIZE)',
  'BODY[1]<0.20>',
]

export function questionsFor(view: MessageView): Question[] {
  const items = new Set<string>(['RFC822.SIZE', 'ENVELOPE', 'BODY', 'BODYSTRUCTURE', 'RFC822.HEADER', '(ENVELOPE)'])
  for (const section of sectionsOf(view)) {
    items.add(`BODY.PEEK[${section}]`)
    for (const partial of partialsOf(view, section)) items.add(`BODY.PEEK[${section}]${partial}`)
  }
  for (const combination of COMBINATIONS) items.add(combination)
  const all = [...items, ...SEEING]
  // Every second one by UID; what clients combine in both forms.
  const questions = all.map((each, index): Question => ({ uid: index % 2 === 1, items: each }))
  for (const combination of COMBINATIONS) questions.push({ uid: true, items: combination })
  return questions
}

function sectionsOf(view: MessageView): string[] {
  const sections = ['', 'HEADER', 'TEXT', ...FIELDS.flatMap((f) => [`HEADER.FIELDS ${f}`, `HEADER.FIELDS.NOT ${f}`])]
  for (const path of pathsOf(view.root)) {
    const number = path.join('.')
    sections.push(number, `${number}.MIME`, `${number}.HEADER`, `${number}.TEXT`)
    sections.push(`${number}.HEADER.FIELDS ${FIELDS[1]}`, `${number}.HEADER.FIELDS.NOT ${FIELDS[2]}`)
  }
  return sections
}

/** Paths of all parts, and beside and below each one that does not exist. */
function pathsOf(root: PartView): number[][] {
  const paths: number[][] = []
  const walk = (prefix: readonly number[]): void => {
    if (prefix.length >= MAX_DEPTH) return
    for (let number = 1; ; number++) {
      const path = [...prefix, number]
      paths.push(path)
      if (findPart(root, path) === null) break
      walk(path)
    }
  }
  walk([])
  paths.push([2, 1], [1, 1, 1, 1], [4294967295])
  if (paths.length <= MAX_PATHS) return paths
  return [...paths.slice(0, MAX_PATHS / 2), ...paths.slice(-MAX_PATHS / 2)]
}

/** Partial ranges at and beyond the edges. */
function partialsOf(view: MessageView, section: string): string[] {
  const octets = octetsOf(view, section)
  const middle = Math.floor(octets / 2)
  const partials = ['<0.1>', '<0.65536>', `<${Math.max(octets - 1, 0)}.1>`, `<${octets}.1>`, `<${octets + 100}.5>`]
  if (middle > 0) partials.push(`<${middle}.${octets}>`, `<${middle - 1}.3>`, `<1.${octets - 1}>`)
  if (section === '' || section === 'TEXT') partials.push('<0.0>', '<0>', `<${middle}>`, '<4294967295.4294967295>')
  return partials
}

function octetsOf(view: MessageView, section: string): number {
  const match = /^((?:\d+\.)*\d+)?\.?([A-Z.]+)?(?: \((.*)\))?$/.exec(section)
  if (match === null) throw new Error(`section ${section}`)
  const part = match[1]?.split('.').map(Number) ?? []
  const text = (match[2] ?? null) as 'HEADER' | null
  const fields = match[3]?.match(/"[^"]*"|\S+/g)?.map((field) => field.replaceAll('"', '')) ?? []
  return resolveSection(view, { part, text, fields }, null).octets
}
