/** What providers do to a sealed message on its way: headers added in front and behind, ids rewritten, folds changed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, seal } from './through.ts'
import { VECTOR_MESSAGES } from './vectors.ts'

const sealText = (message: string) => seal(Buffer.from(message, 'latin1')).toString('latin1')
const openText = (message: string) => open(Buffer.from(message, 'latin1')).toString('latin1')

const TRACE =
  'Return-Path: <a@b>\r\nDelivered-To: c@d\r\nReceived: from x by y\r\n\tfor z; Mon\r\nAuthentication-Results: ok\r\n'
const BEHIND = 'X-Spam: no\r\nX-Filter: y\r\n'

/** Messages whose exactness names places among the headers. */
const PLACES = [
  'Message-Id: <a@b>\r\nSubject: s\r\n\r\nx',
  'From: f\r\nContent-Disposition: inline\r\nSubject: s\r\nTo: t\r\n\r\nx',
  'References: <a@b> <a@b.m.ves.world>\r\nX: 1\r\nReferences: <c@d> <c@d.m.ves.world>\r\nMessage-ID: <m@x>\r\n\r\nx',
  'Message-ID: none\r\nX: 1\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: y\r\n\r\nz',
]

test('headers added in front and behind stay where they are, and nothing else moves', () => {
  for (const message of [...PLACES, ...VECTOR_MESSAGES.map(({ plain }) => plain.toString('latin1'))]) {
    if (!message.includes('\r\n\r\n')) continue
    const sealed = sealText(message)
    assert.equal(openText(TRACE + sealed), TRACE + message)
    const end = message.indexOf('\r\n\r\n') + 2
    if (/^[^\r\n:]+\r\n/m.test(message.slice(0, end)) || /[^\r]\n/.test(message)) continue
    const behind = sealed.replace('\r\n\r\n', `\r\n${BEHIND}\r\n`)
    assert.equal(openText(behind), message.slice(0, end) + BEHIND + message.slice(end))
  }
})

test('a Message-ID that was rewritten comes back by X-VESmail-ID', () => {
  const message = 'Message-ID: <a@b>\r\nSubject: s\r\n\r\nx'
  const sealed = sealText(message)
  assert.equal(openText(sealed.replace('<a@b.m.ves.world>', '<other@provider>')), message)
  assert.equal(openText(sealed.replace(/X-VESmail-ID: .*\r\n/, '')), message)
})

test('encrypted headers folded otherwise, and a subject with a prefix', () => {
  const message = `Message-ID: <a@b>\r\nSubject: s\r\nX-Long: ${'long '.repeat(100)}\r\n\r\nx`
  const sealed = sealText(message)
  assert.equal(openText(sealed.replace(/\r\n\t/g, '\r\n        ')), message)
  assert.equal(openText(sealed.replace(/\r\n\t(?=[A-Za-z0-9+/=]+\r\n)/g, ' ')), message)
  assert.equal(openText(sealed.replace('Subject: <', 'Subject: [list] <')), message)
})

test('line ends converted on the way: what was encrypted is what it was', () => {
  const message = 'Message-ID: <a@b>\r\nSubject: s\r\nContent-Type: text/plain\r\n\r\nline\r\nline\r\n'
  const stored = sealText(message).replaceAll('\r\n', '\n')
  assert.equal(openText(stored), 'Message-ID: <a@b>\nSubject: s\nContent-Type: text/plain\n\nline\r\nline\r\n')
  assert.equal(openText(stored.replaceAll('\n', '\r\n')), message)
})

test('a part in plain that a list adds passes as it is', () => {
  const message = 'Message-ID: <a@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n'
  const added = '\r\n--b\r\nContent-Type: text/plain\r\n\r\n-- \r\nlist footer\r\n--b--'
  const sealed = sealText(message).replace('\r\n--b--', added)
  assert.equal(openText(sealed), message.replace('\r\n--b--', added))
})

test('what is not encrypted passes untouched, whatever it claims inside', () => {
  const inner = sealText('Message-ID: <a@b>\r\n\r\nsecret')
  for (const message of [
    'Subject: s\r\n\r\nx',
    '',
    'no header',
    'X-VESmail-Header: AAAA\r\nX-VESmail-Part: banner\r\nMessage-ID: <a@b>\r\n\r\nx',
    `Content-Type: message/rfc822\r\n\r\n${inner}`,
  ]) {
    assert.equal(openText(message), message)
  }
})

test('a CR that is not of a CRLF is never in plain among the headers: a server may drop it', () => {
  const multipart = 'Content-Type: multipart/mixed; boundary=b'
  const body = '--b\r\n\r\nx\r\n--b--\r\n'
  for (const message of [
    'From: f\r\r\nDate: d\rd\r\nTo: t\r\r\r\n\r\nx',
    'References: <a@b>\r\r\nContent-Disposition: inline\r\r\n\r\nx',
    'Content-Disposition: attachment\r; filename=a\r\n\r\nx',
    'From: f\r\r\n\r\r\nx',
    'From: f\r\r',
    `${multipart}\r\r\n\r\n${body}`,
    `${multipart}\r\nContent-Transfer-Encoding: 7bit\r\r\n\r\n${body}`,
    'Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\r\n\r\nTo: t\r\r\n\r\nx',
    'Content-Type: message/rfc822\r\r\n\r\nTo: t\r\r\n\r\nx',
  ]) {
    const sealed = sealText(message)
    assert.doesNotMatch(sealed, /\r(?!\n)/, JSON.stringify(message))
    assert.equal(openText(sealed), message)
  }
})
