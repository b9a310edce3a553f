/** Sizes of long messages whose end has a record (docs/exactness.md): told exactly, without the message being read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { plainAnswer, RealMail, sealedWithoutSizes } from './real-mail.ts'

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
