/** Sizes of long messages whose end has a record (docs/exactness.md): told exactly, without the message being read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Sizes } from '../../../src/engine/account.ts'
import { open } from '../seal/through.ts'
import { plainAnswer, RealMail, sealedWithoutSizes } from './real-mail.ts'
import { KEY } from './stage.ts'

const HEAD = 'From: a@lab.test\r\nMessage-ID: <m@lab.test>\r\nMIME-Version: 1.0\r\n'
const attached = (boundary: string) =>
  `--${boundary}\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n${`${'QUJD'.repeat(19)}\r\n`.repeat(400)}`
const multipart = (boundary: string) => `Content-Type: multipart/mixed; boundary="${boundary}"\r\n\r\n`
const MESSAGE = 'Content-Type: message/rfc822\r\n\r\n'
const LONG = 'a-boundary-that-is-rather-long-'.repeat(3).slice(0, 70)

const MESSAGES: Readonly<Record<string, string>> = {
  closed: `${HEAD}${multipart('b')}preamble\r\n${attached('b')}\r\n${attached('b')}\r\n--b--\r\nepilogue\r\n`,
  'with a long boundary': `${HEAD}${multipart(LONG)}${attached(LONG)}\r\n--${LONG}--\r\n`,
  'not closed, of ten parts': `${HEAD}${multipart('b')}${`${attached('b')}\r\n`.repeat(10)}`,
}

for (const [name, text] of Object.entries(MESSAGES)) {
  test(name, () => {
    const message = Buffer.from(text)
    const sealed = sealedWithoutSizes(message)
    const mail = new RealMail([sealed], { settings: { sizes: 'estimate' } })
    for (const items of ['(UID RFC822.SIZE)', '(RFC822.SIZE BODYSTRUCTURE)', '(BODY)']) {
      assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(message, items))
    }
    assert.ok(mail.server.sentOctets < sealed.length / 2, `${mail.server.sentOctets} octets from the server`)
    assert.equal(mail.ask('FETCH 1 (BODY.PEEK[])'), plainAnswer(message, '(BODY.PEEK[])'))
  })
}

// Lines of nested messages, and whether there is a closing delimiter, only reading tells.
for (const [name, text] of Object.entries({
  'not closed': `${HEAD}${multipart('b')}${attached('b')}\r\n${attached('b')}`,
  'not closed, with a long boundary': `${HEAD}${multipart(LONG)}${attached(LONG)}`,
  'not closed, with a nested multipart': `${HEAD}${multipart('b')}--b\r\n${multipart('c')}${attached('c')}\r\n--c--`,
  'a message': `${HEAD}${MESSAGE}Subject: inner\r\n${multipart('c')}${attached('c')}\r\n--c--\r\n`,
  'a message in an open delimiter': `${HEAD}${MESSAGE}Subject: inner\r\n${multipart('c')}${attached('c')}\r\n--c`,
  'one in an open multipart': `${HEAD}${multipart('b')}--b\r\n${MESSAGE}Subject: inner\r\n${multipart('c')}${attached('c')}\r\n--c`,
})) {
  test(name, () => {
    const message = Buffer.from(text)
    for (const items of ['(RFC822.SIZE)', '(RFC822.SIZE BODYSTRUCTURE)', '(BODY.PEEK[])']) {
      const mail = new RealMail([sealedWithoutSizes(message)], { settings: { sizes: 'exact' } })
      assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(message, items))
    }
  })
}

/** What a server or a relay does to the record, as white space that it may take for worth nothing. */
const RECORD = /\r\n[ \t]{76}\r\n[ \t]{76}\r\n[ \t]{48} */
const FATES: Readonly<Record<string, (sealed: string) => string>> = {
  'in place': (sealed) => sealed,
  'taken away': (sealed) => sealed.replace(RECORD, ''),
  'white space trimmed from every line': (sealed) => sealed.replace(/[ \t]+\r\n/g, '\r\n'),
  'its blanks trimmed': (sealed) => sealed.replace(/( |\t)( {5,})(?=\r\n|$)/, '$1'),
  'its last line trimmed': (sealed) => sealed.replace(RECORD, (record) => record.slice(0, 160)),
  altered: (sealed) => sealed.replace(RECORD, (record) => record.replace(/\t/, ' ')),
  'with a line end behind it': (sealed) => `${sealed}\r\n`,
  'with a long text behind it': (sealed) => `${sealed}\r\n${'put in by a list. '.repeat(60)}\r\n`,
  'the closing delimiter cut off with it': (sealed) => sealed.slice(0, sealed.lastIndexOf('\r\n--')),
}
const TEXT_OCTETS = [0, 100, 209, 210, 211, 5000]
const sealedTexts = new Map<string, string>()
function sealedText(message: string): string {
  const known = sealedTexts.get(message) ?? sealedWithoutSizes(Buffer.from(message)).toString('latin1')
  sealedTexts.set(message, known)
  return known
}
const textOf = (octets: number) => 'text. '.repeat(octets).slice(0, octets)
/** The places where text stands that belongs to no part. */
const PLACES: Readonly<Record<string, (text: string) => string>> = {
  preamble: (text) => `${multipart('b')}${text}\r\n${attached('b')}\r\n--b--\r\n`,
  'between parts': (text) =>
    `${multipart('b')}--b\r\n${multipart('c')}${attached('c')}\r\n--c--${text}\r\n${attached('b')}\r\n--b--\r\n`,
  epilogue: (text) => `${multipart('b')}${attached('b')}\r\n--b--\r\n${text}`,
  'preamble of a multipart that is not closed': (text) => `${multipart('b')}${text}\r\n${attached('b')}\r\n`,
  'preamble in a message': (text) =>
    `${MESSAGE}Subject: inner\r\n${multipart('c')}${text}\r\n${attached('c')}\r\n--c--\r\n`,
}
const BUDGETS: Readonly<Record<string, { readonly sizes: Sizes; readonly sizeBudgetOctets: number }>> = {
  auto: { sizes: 'auto', sizeBudgetOctets: 1 << 20 },
  exact: { sizes: 'exact', sizeBudgetOctets: 1 << 20 },
  'auto without a budget': { sizes: 'auto', sizeBudgetOctets: 0 },
  estimate: { sizes: 'estimate', sizeBudgetOctets: 0 },
}
const SIZE = 'FETCH 1 (RFC822.SIZE BODYSTRUCTURE)'
const BODY = 'FETCH 1 (BODY.PEEK[])'

/** Without a message of 30,000 octets in the report. */
function same(actual: string, expected: string, what: string): void {
  let at = 0
  while (at < actual.length && actual[at] === expected[at]) at++
  const around = (text: string) => text.slice(Math.max(0, at - 20), at + 60)
  assert.equal(around(actual), around(expected), what)
  assert.equal(actual.length, expected.length, what)
}

for (const [fate, change] of Object.entries(FATES)) {
  test(`the record ${fate}: sizes are those of what is opened, or an estimate that stays`, () => {
    for (const [place, bodyOf] of Object.entries(PLACES)) {
      for (const octets of TEXT_OCTETS) {
        const sealed = Buffer.from(change(sealedText(HEAD + bodyOf(textOf(octets)))), 'latin1')
        const opened = open(sealed, KEY)
        const size = plainAnswer(opened, SIZE.slice('FETCH 1 '.length))
        const body = plainAnswer(opened, BODY.slice('FETCH 1 '.length))
        for (const [name, settings] of Object.entries(BUDGETS)) {
          if (name.startsWith('auto') && (octets === 100 || octets === 209)) continue
          const what = `${place}, ${octets} octets, ${name}`
          const memory = new Map<string, string>()
          // Small enough that bodies are streamed by what was told of their length.
          const options = { settings: { ...settings, maxbufOctets: 16_384 }, sizes: memory }
          const mail = new RealMail([sealed], options)
          const told = mail.ask(SIZE)
          if (settings.sizeBudgetOctets > 0) same(told, size, what)
          same(mail.ask(BODY), body, what)
          same(mail.ask(SIZE), told, `${what}, after its content`)
          // Whoever has read it knows it; the memory of all sessions does, too.
          const next = new RealMail([sealed], options)
          same(next.ask(BODY), body, what)
          same(new RealMail([sealed], options).ask(SIZE), size, `${what}, in the next session`)
        }
      }
    }
  })
}

test('what seeing the end costs: no question more, and less than a kilobyte', () => {
  const sealed = sealedWithoutSizes(Buffer.from(MESSAGES.closed!))
  const mail = new RealMail([sealed], { settings: { sizes: 'exact' } })
  mail.ask('FETCH 1 (RFC822.SIZE)')
  const tails = mail.asked().filter((line) => line.includes('<'))
  assert.equal(tails.length, 1, tails.join('\n'))
  assert.match(tails[0]!, /BODY\.PEEK\[1\.1\]<\d+\.176> .*BODY\.PEEK\[\]<\d+\.7\d\d>/)
})
