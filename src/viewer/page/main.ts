/**
 * The viewer's page (now.md): which message, who reads, and what comes of it. It asks its worker for everything that
 * takes a key. Nothing is kept in the browser but the id of a message that waits for its reader's vault.
 */
import type { Failure, ViewerConfig } from '../reader.ts'
import { askedMessage, onboardingLink } from './address.ts'
import { button, el, field } from './dom.ts'
import { mailView } from './message.ts'
import type { Ask, Told } from './protocol.ts'
import { saveFile } from './save.ts'
import { say, sayFailure, sayOctets } from './texts.ts'

/** The link in the onboarding mail opens another window, which does not know what was to be read. */
const WAITING = 'vesmail-waiting-message'

const base = new URL('.', document.baseURI)
const main = document.getElementById('main')!
const status = document.getElementById('status')!
const worker = new Worker(new URL(document.documentElement.dataset.worker!, base))

let answered: (told: Told) => void = () => {}
worker.addEventListener('message', ({ data }: MessageEvent<Told>) => {
  if (data.on === 'progress') showProgress(data.octets, data.total)
  else answered(data)
})
worker.addEventListener('error', () => answered({ on: 'failed', failure: 'failed', detail: 'worker' }))

function ask(question: Ask): Promise<Told> {
  worker.postMessage(question)
  return new Promise((resolve) => {
    answered = resolve
  })
}

/** Everything new on the page: the heading takes the focus, so that a screen reader reads on from there. */
function show(...content: (Node | string | null)[]): void {
  main.replaceChildren(...content.filter((one) => one !== null))
  status.textContent = ''
  main.querySelector<HTMLElement>('h1')?.focus()
}

function heading(text: string): HTMLElement {
  document.title = text
  return el('h1', { tabIndex: -1 }, text)
}

/** @param submitted gets the form's values; they stay in it until it is over */
function form(parts: readonly Node[], submitted: (values: FormData) => Promise<void>): HTMLFormElement {
  const made = el('form', { method: 'post' }, ...parts)
  made.addEventListener('submit', (event) => {
    event.preventDefault()
    const controls = made.querySelectorAll<HTMLInputElement | HTMLButtonElement>('button, input')
    const values = new FormData(made)
    for (const control of controls) control.disabled = true
    void submitted(values).finally(() => {
      for (const control of controls) control.disabled = false
    })
  })
  return made
}

function submit(label: string): HTMLButtonElement {
  return el('button', { type: 'submit', className: 'main' }, label)
}

function showFailure(place: Element, failure: Failure, detail: string): void {
  const note = el(
    'div',
    { className: 'error', tabIndex: -1, attributes: { role: 'alert' } },
    el('p', {}, sayFailure(failure)),
  )
  if (failure === 'failed' && detail !== '') note.append(el('p', { className: 'hint' }, say('detail', { detail })))
  place.querySelector('.error')?.remove()
  place.prepend(note)
  note.focus()
  status.textContent = ''
}

// ── open ──

function showLogin(messageId: string): void {
  const veskey = field(
    say('veskey'),
    { name: 'veskey', type: 'password', autocomplete: 'current-password', required: true, spellcheck: false },
    say('veskeyHint'),
  )
  const peek = el('input', { type: 'checkbox', id: 'peek' })
  peek.addEventListener('change', () => {
    veskey.querySelector('input')!.type = peek.checked ? 'text' : 'password'
  })
  const login = form(
    [
      field(say('email'), { name: 'email', type: 'email', autocomplete: 'username', required: true }),
      veskey,
      el('div', { className: 'check' }, peek, el('label', { htmlFor: 'peek' }, say('show'))),
      submit(say('open')),
    ],
    (values) => open(messageId, String(values.get('email')), String(values.get('veskey')), login),
  )
  show(heading(say('title')), el('p', {}, say('intro')), login, onboardingCard(messageId))
}

async function open(messageId: string, email: string, veskey: string, place: Element): Promise<void> {
  status.textContent = say('opening')
  const told = await ask({ do: 'open', messageId, email, veskey })
  if (told.on === 'opened') {
    localStorage.removeItem(WAITING)
    document.title = told.mail.message.subject || say('noSubject')
    show(mailView(told.mail, () => show(heading(say('closed')))))
    status.textContent = say('opened')
  } else if (told.on === 'failed') showFailure(place, told.failure, told.detail)
}

/** Who hears the page is told once that it goes on, and may ask the bar how far; who sees it reads that beside it. */
function showProgress(octets: number, total: number | null): void {
  const text =
    total === null
      ? say('received', { octets: sayOctets(octets) })
      : say('receivedOf', { octets: sayOctets(octets), total: sayOctets(total) })
  let bar = status.querySelector('progress')
  if (bar === null) {
    bar = el('progress', {})
    status.replaceChildren(el('span', { attributes: { 'aria-hidden': 'true' } }), bar)
  }
  status.querySelector('span')!.textContent = text
  bar.setAttribute('aria-label', text)
  bar.max = total ?? 1
  if (total !== null) bar.value = octets
}

// ── a vault for who has none ──

function onboardingCard(messageId: string | null, address = ''): HTMLElement {
  const card = el('section', { className: 'card', attributes: { 'aria-label': say('noVault') } })
  const request = form(
    [
      field(say('email'), { name: 'email', type: 'email', autocomplete: 'email', value: address, required: true }),
      submit(say('sendLink')),
    ],
    async (values) => {
      status.textContent = say('sending')
      const email = String(values.get('email')).trim()
      const told = await ask({ do: 'ask-for-link', email })
      if (told.on === 'failed') return showFailure(card, told.failure, told.detail)
      if (messageId !== null) localStorage.setItem(WAITING, messageId)
      const sent = el('p', { tabIndex: -1 }, say('linkSent', { email }))
      card.replaceChildren(sent)
      // The button that had the focus is gone; here it is read out, too.
      sent.focus()
      status.textContent = ''
    },
  )
  card.append(el('h2', {}, say('noVault')), el('p', {}, say('noVaultText')), request)
  return card
}

function showSetUp({ email, token }: { readonly email: string; readonly token: string }): void {
  const place = el('div', {})
  const make = form([submit(say('setUp'))], async () => {
    status.textContent = say('settingUp')
    const told = await ask({ do: 'set-up', email, token })
    if (told.on === 'failed') showFailure(place, told.failure, told.detail)
    else if (told.on === 'set-up') {
      // The token is used up; what stays in the address is nobody's business.
      history.replaceState(null, '', location.pathname + location.search)
      showKeys(email, told.password, told.recoveryKey)
    }
  })
  place.append(el('p', {}, say('setUpText', { email })), make)
  show(heading(say('setUpTitle')), place)
}

function showKeys(email: string, password: string, recoveryKey: string): void {
  const messageId = askedMessage(location.search) ?? localStorage.getItem(WAITING)
  const keptBox = el('input', { type: 'checkbox', id: 'kept' })
  const goOn = button(say('goOn'), () => void open(messageId!, email, password, place), 'main')
  goOn.disabled = true
  const next = messageId === null ? el('p', { hidden: true }, say('done')) : goOn
  keptBox.addEventListener('change', () => {
    goOn.disabled = !keptBox.checked
    if (next !== goOn) next.hidden = !keptBox.checked
  })
  const file = `${say('email')}: ${email}\n${say('veskey')}: ${password}\n${say('recoveryKey')}: ${recoveryKey}\n`
  const place = el(
    'div',
    {},
    el('p', {}, say('madeText')),
    keyField('veskey', say('yourVeskey'), password),
    keyField('recovery', say('recoveryKey'), recoveryKey),
    button(say('saveKeys'), () => saveFile('vesmail-keys.txt', new Blob([file], { type: 'text/plain' }))),
    el('div', { className: 'check' }, keptBox, el('label', { htmlFor: 'kept' }, say('kept'))),
    next,
  )
  show(heading(say('madeTitle')), place)
}

function keyField(name: 'veskey' | 'recovery', label: string, value: string): HTMLElement {
  const made = field(label, { name, value, readOnly: true, spellcheck: false, className: 'key' })
  const input = made.querySelector('input')!
  input.addEventListener('focus', () => input.select())
  const copy = button(say('copy'), () => {
    void navigator.clipboard.writeText(value).then(() => {
      status.textContent = say('copied')
    })
  })
  // Who hears the page has to know which of the two it is.
  copy.setAttribute('aria-label', say(name === 'veskey' ? 'copyVeskey' : 'copyRecovery'))
  made.append(copy)
  return made
}

// ── start ──

async function start(): Promise<void> {
  const answer = await fetch(new URL('config.json', base), { credentials: 'omit', cache: 'no-store' })
  if (!answer.ok) throw new Error(`config ${answer.status}`)
  const config = (await answer.json()) as ViewerConfig
  worker.postMessage({ do: 'start', base: base.href, config } satisfies Ask)
  route()
}

function route(): void {
  const link = onboardingLink(location.hash)
  const messageId = askedMessage(location.search)
  if (link.token !== '') showSetUp(link)
  else if (messageId !== null) showLogin(messageId)
  // An invitation names the address, and no message.
  else show(heading(say('title')), el('p', {}, say('noMessage')), onboardingCard(null, link.email))
}

window.addEventListener('hashchange', route)
start().catch(() => {
  show(heading(say('title')))
  showFailure(main, 'unreachable', '')
})
