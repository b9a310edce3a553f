/** An opened message on the page: headers, texts, HTML in its frame, nested messages, attachments. */
import type { Attachment, Section, ShownMessage } from '../message/view.ts'
import type { OpenedMail } from '../reader.ts'
import { button, el } from './dom.ts'
import { heightHandle } from './frame-height.ts'
import { cleanHtml, dataUrls } from './html.ts'
import { saveAll, saveFile } from './save.ts'
import { say, sayOctets } from './texts.ts'

/** What the frame itself is allowed; the mail's frame inside of it may do less. */
const FRAME_SANDBOX = 'allow-scripts allow-popups allow-popups-to-escape-sandbox'

/** @param close ends the showing */
export function mailView(
  { message, cut, isIncomplete, hasUnsealed, isAltered }: OpenedMail,
  close: () => void,
): HTMLElement {
  return el(
    'article',
    { className: 'mail' },
    cut ? el('p', { className: 'warning' }, say('cut')) : null,
    isIncomplete ? el('p', { className: 'warning' }, say('taken')) : null,
    hasUnsealed ? el('p', { className: 'warning' }, say('unsealed')) : null,
    isAltered ? el('p', { className: 'warning' }, say('around')) : null,
    ...messageView(message, 2),
    el('p', { className: 'actions' }, button(say('close'), close)),
  )
}

/** @param level of the headings inside of it */
function messageView(message: ShownMessage, level: number): HTMLElement[] {
  const subject = message.subject === '' ? say('noSubject') : message.subject
  const tag = `h${Math.min(level - 1, 6)}` as 'h1'
  const sections = message.sections.map((section) => sectionView(section, level))
  return [
    el(tag, { tabIndex: -1 }, subject),
    headersOf(message),
    ...(sections.length > 0 ? sections : [el('p', { className: 'hint' }, say('empty'))]),
    ...(message.attachments.length > 0 ? [attachmentsView(message.attachments, level)] : []),
  ]
}

function headersOf({ from, to, cc, date }: ShownMessage): HTMLElement {
  const rows = [
    [say('from'), from],
    [say('to'), to],
    [say('cc'), cc],
    [say('date'), readableDate(date)],
  ] as const
  const shown = rows.filter(([, value]) => value !== '')
  return el(
    'dl',
    { className: 'headers' },
    ...shown.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))),
  )
}

/** In the reader's time and words; what is no date stays as it was written. */
function readableDate(date: string): string {
  const parsed = new Date(date.replace(/\([^)]*\)/g, ''))
  if (date === '' || Number.isNaN(parsed.getTime())) return date
  return new Intl.DateTimeFormat(navigator.language, { dateStyle: 'full', timeStyle: 'short' }).format(parsed)
}

function sectionView(section: Section, level: number): HTMLElement {
  switch (section.kind) {
    case 'text':
      return marked(section, textView(section.text, section.complete))
    case 'html':
      return marked(section, htmlView(section))
    case 'message': {
      const { message } = section
      const title = say('nested', { subject: message.subject === '' ? say('noSubject') : message.subject })
      const view = [el('summary', {}, title), ...messageView(message, level + 1)]
      return marked(section, el('details', { className: 'nested', open: true }, ...view))
    }
  }
}

function marked({ unsealed }: { readonly unsealed?: true }, view: HTMLElement): HTMLElement {
  if (unsealed !== true) return view
  return el('div', { className: 'unsealed' }, el('p', { className: 'warning' }, say('unsealedPart')), view)
}

function textView(text: string, complete: boolean): HTMLElement {
  const note = complete ? null : el('p', { className: 'warning' }, say('cutHere'))
  return el('div', { className: 'text' }, el('pre', {}, ...withLinks(text.replace(/\r\n/g, '\n'))), note)
}

const ADDRESS = /https?:\/\/[^\s<>"'()]+[^\s<>"'().,;:!?]/g

/** Addresses of the web as links; nothing else of the text means anything. */
function withLinks(text: string): (Node | string)[] {
  const pieces: (Node | string)[] = []
  let at = 0
  for (const match of text.matchAll(ADDRESS)) {
    pieces.push(text.slice(at, match.index))
    pieces.push(el('a', { href: match[0], target: '_blank', rel: 'noopener noreferrer nofollow' }, match[0]))
    at = match.index + match[0].length
  }
  pieces.push(text.slice(at))
  return pieces
}

function htmlView(section: Extract<Section, { kind: 'html' }>): HTMLElement {
  const holder = el('div', { className: 'html' })
  /** What was pressed is gone with what it changed: the focus goes on to what came in its place. */
  const replace = (parts: readonly (Node | null)[], focused: HTMLElement | null): void => {
    holder.replaceChildren(...parts.filter((part) => part !== null))
    focused?.focus()
  }
  const show = async (withRemote: boolean, focus: 'frame' | 'as-text' | null): Promise<void> => {
    const { html, hasRemote } = cleanHtml(section.html, await dataUrls(section.images), withRemote)
    const notice =
      hasRemote && !withRemote
        ? el(
            'div',
            { className: 'notice' },
            el('p', {}, say('remoteText')),
            button(say('remote'), () => void show(true, 'frame')),
          )
        : null
    const asText =
      section.text === null
        ? null
        : button(say('asText'), () => {
            const back = button(say('asHtml'), () => void show(withRemote, 'as-text'))
            replace([textView(section.text!, true), el('p', { className: 'actions' }, back)], back)
          })
    const cut = section.complete ? null : el('p', { className: 'warning' }, say('cutHere'))
    const frame = frameWith(html, withRemote)
    const place = el('div', { className: 'frame' }, frame)
    const focused = focus === null ? null : focus === 'frame' ? frame : asText
    replace([notice, place, heightHandle(place), cut, asText], focused)
  }
  void show(false, null)
  return holder
}

/** The frame tells when it can take the message. */
function frameWith(html: string, withRemote: boolean): HTMLIFrameElement {
  const frame = el('iframe', {
    title: say('messageText'),
    src: `${document.documentElement.dataset.frame}${withRemote ? '?images' : ''}`,
    referrerPolicy: 'no-referrer',
    attributes: { sandbox: FRAME_SANDBOX },
  })
  const ready = ({ data, source }: MessageEvent<unknown>): void => {
    if (data !== 'frame-ready' || source === null || source !== frame.contentWindow) return
    window.removeEventListener('message', ready)
    // Its origin is its own, and has no name that could be given here.
    frame.contentWindow?.postMessage({ html, title: say('messageText') }, '*')
  }
  window.addEventListener('message', ready)
  return frame
}

function attachmentsView(attachments: readonly Attachment[], level: number): HTMLElement {
  const whole = attachments.filter(({ complete }) => complete)
  const tag = `h${Math.min(level, 6)}` as 'h2'
  return el(
    'section',
    { className: 'attachments', attributes: { 'aria-label': say('attachments') } },
    el(tag, {}, say('attachments')),
    el('ul', {}, ...attachments.map(attachmentRow)),
    whole.length > 1 ? button(say('saveAll'), () => void saveAll(whole)) : null,
  )
}

function attachmentRow({ name, octets, complete, unsealed }: Attachment): HTMLElement {
  const save = button(say('save'), () => saveFile(name, octets))
  save.setAttribute('aria-label', say('saveNamed', { name }))
  const size = el('span', { className: 'hint' }, sayOctets(octets.size))
  const action = complete ? save : el('span', { className: 'hint' }, say('incomplete'))
  const mark = unsealed === true ? el('span', { className: 'hint' }, say('unsealedPart')) : null
  return el('li', {}, el('span', { className: 'name' }, name), size, mark, action)
}
