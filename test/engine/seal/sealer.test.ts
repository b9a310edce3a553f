/** The rules of sealing (message-format.md §3, §4), and that nothing secret stays in plain. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { SealKeyAsk } from '../../../src/engine/seal/message-key.ts'
import type { Sealer } from '../../../src/engine/seal/sealer.ts'
import { nameOf, openStream, type Part, readPart } from './plain-reader.ts'
import { BANNERS, KEY, open, seal, sealAnswer, sealerFor, through, whole } from './through.ts'

/** Names of a sealed block's headers; of encrypted ones, `+` and the name inside. */
function headers(part: Part): string[] {
  return part.headers.map((header) => {
    if (nameOf(header) !== 'x-vesmail-header') return nameOf(header)
    const sealed = Buffer.from(header.slice(header.indexOf(':') + 1).replace(/\s/g, ''), 'base64')
    return `+${nameOf(openStream(sealed, KEY.keyString).toString('latin1'))}`
  })
}

const sealText = (message: string, how = {}) => seal(Buffer.from(message, 'latin1'), how).toString('latin1')
const rootOf = (message: string, how = {}) => readPart(sealText(message, how))

function askOf(message: string, sealer: Sealer = sealerFor()): SealKeyAsk {
  const actions = sealer.push(Buffer.from(message, 'utf8'))
  const ask = actions.find((action) => action.do === 'ask')
  assert.ok(ask?.kind === 'seal-key')
  return ask.ask
}

test('the key is asked for at the blank line, with the header’s recipients', () => {
  const ask = askOf(
    'To: Bob <BOB@x.example>, a@b\r\nMessage-ID:\r\n <id@x>\r\nBcc: c@d\r\nCc: a@b\r\nFrom: f@g\r\n\r\n',
  )
  assert.deepEqual(ask, {
    messageId: 'id@x',
    headerRecipients: [
      { address: 'bob@x.example', name: 'Bob' },
      { address: 'a@b', name: null },
      { address: 'c@d', name: null },
    ],
  })
  assert.deepEqual(sealerFor().push(Buffer.from('To: x@y\r\nSubject: not yet')), [])
})

test('nothing leaves before the key is there', () => {
  const sealer = sealerFor({ options: { settings: { maxbufOctets: 100 } } })
  const actions = [...sealer.push(Buffer.from(`Subject: x\r\n\r\n${'x'.repeat(1000)}`)), ...sealer.end()]
  assert.deepEqual(
    actions.map((action) => action.do),
    ['ask'],
  )
  assert.equal(sealer.wants, false)
})

test('an id is made where there is none, and stays only where it was asked to', () => {
  const sealer = sealerFor()
  assert.match(askOf('Subject: x\r\n\r\n', sealer).messageId, /^[0-9a-f]{32}\.VESmail@gateway\.example$/)
  assert.equal(sealer.facts.addedMessageId, false)
  const root = rootOf('Date: d\r\nSubject: x\r\nTo: y\r\n\r\nz')
  // In front of the first header that is encrypted.
  assert.deepEqual(headers(root).slice(0, 5), ['date', 'x-vesmail-id', 'message-id', '+subject', 'subject'])
  const stays = (message: string) => {
    const smtp = sealerFor({ options: { addedIdStays: true } })
    const opened = open(through(smtp, whole(Buffer.from(message)), sealAnswer())).toString()
    assert.equal(smtp.facts.addedMessageId, opened !== message)
    return opened.replace(/<[0-9a-f]{32}/, '<made')
  }
  assert.equal(
    stays('Date: d\r\nSubject: x\r\n\r\nz'),
    'Date: d\r\nMessage-ID: <made.VESmail@gateway.example>\r\nSubject: x\r\n\r\nz',
  )
  for (const has of [
    'Message-ID: <a@b>\r\n\r\n',
    'Message-ID: none\r\n\r\n',
    'X-VESmail-ID: <a@b>\r\nSubject: x\r\n\r\n',
  ]) {
    assert.equal(stays(has), has)
  }
})

test('the root’s headers', () => {
  const root = rootOf(
    'Received: r\r\nReturn-Path: p\r\nFrom: f\r\nTo: t\r\nCc: c\r\nBcc: b\r\nDate: d\r\nReply-To: r\r\nMessage-Id: <a@b>\r\n' +
      'In-Reply-To: i\r\nReferences: <r@x>\r\nSubject: s\r\nAuto-Submitted: a\r\nImportance: i\r\nPriority: p\r\n' +
      'Envelope-To: e\r\nMIME-Version: 1.0\r\nX-Mailer: m\r\nList-Id: l\r\nContent-Disposition: inline\r\nDKIM-Signature: d\r\n\r\n',
    { answer: { xchg: '[[1,2,"x"]]', verify: 'token' } },
  )
  assert.deepEqual(headers(root), [
    '+received',
    'return-path',
    'from',
    'to',
    'cc',
    'bcc',
    'date',
    'reply-to',
    'x-vesmail-id',
    'message-id',
    'in-reply-to',
    'references',
    '+subject',
    'subject',
    'auto-submitted',
    'importance',
    'priority',
    'envelope-to',
    'mime-version',
    '+x-mailer',
    '+list-id',
    '+dkim-signature',
    '+x-vesmail-exact',
    'x-vesmail-xchg',
    'x-vesmail-verify',
    'x-vesmail-part',
    'content-type',
  ]) // prettier-ignore
  // The disposition moved into the injected part.
  assert.deepEqual(headers(root.children[0]!.part), [
    'content-disposition',
    'x-vesmail-part',
    'content-type',
    'content-transfer-encoding',
  ])
})

test('deeper headers are encrypted, but for what structure needs', () => {
  const root = rootOf(
    'Message-ID: <a@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nFrom: f\r\nSubject: s\r\n' +
      'Message-ID: <c@d>\r\nContent-Disposition: attachment; filename=f\r\nContent-Type: image/png; name=f\r\n\r\ny\r\n--b--',
  )
  assert.deepEqual(
    headers(root.children[1]!.part),
    [
      '+from',
      '+subject',
      '+message-id',
      '+content-disposition',
      'content-disposition',
      '+content-type',
      '+x-vesmail-exact',
      'content-type',
      'content-transfer-encoding',
    ].filter((name) => name !== '+x-vesmail-exact'),
  ) // prettier-ignore
})

test('what cannot be taken apart safely is a leaf', () => {
  const part = '--b\r\nX-Secret: 1\r\n\r\nsecret\r\n--b--'
  const leaves = [
    'multipart/mixed',
    'multipart/signed; boundary=b',
    "multipart/mixed; boundary='b'",
    'multipart/mixed; boundary=b; boundary=c',
    'multipart/mixed (x); boundary=b',
    'multipart/mixed; boundary=b\r\nContent-Type: text/plain',
    'multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64',
    'multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: strange',
    'message/rfc822\r\nContent-Transfer-Encoding: quoted-printable',
    'message/rfc822 (x)',
    'multipart/mixed; boundary="-"',
  ]
  for (const type of leaves) {
    const root = rootOf(`Content-Type: ${type}\r\n\r\n${part}`)
    assert.ok(headers(root).includes('+content-type'), type)
    assert.ok(!sealText(`Content-Type: ${type}\r\n\r\n${part}`).includes('multipart/mixed'), type)
  }
  assert.ok(headers(rootOf(`Content-Type: multipart/mixed; boundary=b\r\n\r\n${part}`)).includes('content-type'))
})

test('a boundary that begins with the one around it, or the other way round, makes a leaf', () => {
  for (const [outer, inner] of [
    ['b', 'bb'],
    ['bb', 'b'],
    ['b', 'b'],
  ]) {
    const text = sealText(
      `Content-Type: multipart/mixed; boundary=${outer}\r\n\r\n--${outer}\r\nContent-Type: multipart/mixed; boundary=${inner}\r\n\r\nx\r\n--${outer}--`,
    )
    assert.equal(text.split(/content-type: multipart\/mixed/i).length, 2)
  }
})

test('beyond the limit of nesting there are leaves', () => {
  const levels = Array.from(
    { length: 300 },
    (_, i) => `--a${i}-\r\nContent-Type: multipart/mixed; boundary=a${i + 1}-\r\n\r\n`,
  )
  const message = `Content-Type: multipart/mixed; boundary=a0-\r\n\r\n${levels.join('')}`
  const sealed = sealText(message)
  assert.equal(sealed.split('Content-Type: multipart/mixed').length - 1, 64)
  assert.equal(open(Buffer.from(sealed, 'latin1')).toString('latin1'), message)
})

test('banners: in the first part that takes them, and in alternatives', () => {
  const banners = (message: string) => sealText(message).split('X-VESmail-Part: banner').length - 1
  const injected = (message: string) => sealText(message).split('X-VESmail-Part: injected').length - 1
  const mixed = 'Content-Type: multipart/mixed; boundary=m\r\n\r\n'
  const alternative = 'Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a--'
  assert.equal(banners('Subject: x\r\n\r\ny'), 2)
  assert.equal(injected(`${mixed}--m\r\n\r\nx\r\n--m\r\n\r\ny\r\n--m--`), 1)
  assert.equal(banners(`${mixed}--m\r\n${alternative}\r\n--m\r\n\r\ny\r\n--m--`), 2)
  assert.equal(injected(`${mixed}--m\r\n${alternative}\r\n--m\r\n\r\ny\r\n--m--`), 0)
  // Not closed: no place for a banner, so that the next part takes it.
  assert.equal(injected(`${mixed}--m\r\n${alternative.slice(0, -5)}\r\n--m\r\n\r\ny\r\n--m--`), 1)
  const url = sealText('Message-ID: <a+b@c>\r\n\r\n', { options: { settings: { viewerUrl: 'https://now.example/' } } })
  assert.ok(url.includes('encrypted message: https://now.example/a%2Bb@c\r\n'))
  assert.ok(BANNERS.every((banner) => !banner.includes('\r')) && !/[^\r]\n/.test(url.slice(url.indexOf('\r\n\r\n'))))
})

test('nothing of bodies, subjects and names stays in plain', () => {
  const secret = (n: number) => `geheim${n}wort`
  const message = `Subject: ${secret(1)}\r\nX-Any: ${secret(2)}\r\nFrom me: ${secret(3)}\r\nReceived: ${secret(4)}\r\nno colon ${secret(5)}`
  const parts =
    `Content-Type: multipart/mixed; boundary=b\r\nSubject: ${secret(1)}\r\n\r\n--b\r\nFrom: ${secret(2)}\r\n\r\n${secret(3)}\r\n` +
    `--b\r\nContent-Type: x/y; name=${secret(4)}\r\nContent-Disposition: attachment; filename=${secret(5)}\r\n` +
    `Content-Transfer-Encoding: 7bit\r\n\r\n${secret(6)}\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nTo: ${secret(7)}\r\n\r\n${secret(8)}\r\n--b--`
  for (const text of [message, parts]) assert.ok(!sealText(text).includes('geheim'))
})

test('what is no header to every reader is not left in plain, whatever it begins with', () => {
  const macMail = 'From: a@b\rTo: c@d\rSubject: geheim\r\rgeheim\r'
  for (const text of [
    macMail,
    `Date: d\r\n${macMail}`,
    'To: x\0geheim\r\n\r\n',
    'References: <a@b>\rgeheim\r\n\r\n',
    'Content-Disposition: attachment filename=geheim\r\n\r\n',
    'Content-Disposition: geheim x; y=z\r\n\r\n',
    'Content-Disposition: inline\rgeheim\r\n\r\n',
  ]) {
    const sealed = sealText(text)
    assert.ok(!sealed.includes('geheim'), text)
    assert.equal(open(Buffer.from(sealed, 'latin1')).toString('latin1'), text)
  }
  // A CR too many in front of line ends is nothing of that.
  assert.ok(sealText('From: a@b\r\r\nTo: c@d\r\r\n\r\r\n').includes('From: a@b'))
})

test('a header block of more than 1 MiB is refused', () => {
  const isRefused = (error: unknown) => error instanceof GatewayError && error.code === 'MIME_HEADER_TOO_LARGE'
  assert.throws(() => sealText(`X: ${'x'.repeat(1 << 20)}\r\n\r\n`), isRefused)
  const nested = `Content-Type: message/rfc822\r\n\r\nX: ${'x'.repeat(1 << 20)}`
  assert.throws(() => sealText(nested), isRefused)
})

test('the largest header block that is sealed is opened', () => {
  const message = Buffer.from(`a:\r\n`.repeat((1 << 18) - 1).concat('\r\nx'))
  assert.ok(open(seal(message)).equals(message))
})
