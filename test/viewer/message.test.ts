/** An opened message taken apart and put into words: what is shown, what is attached, whatever the octets are. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../src/base/errors.ts'
import { Opener } from '../../src/engine/seal/opener.ts'
import { PartReader } from '../../src/viewer/message/part-reader.ts'
import { decodeWords, parameterOf } from '../../src/viewer/message/text.ts'
import { isCut, toldOf } from '../../src/viewer/message/told.ts'
import { type ShownMessage, safeName, viewOf } from '../../src/viewer/message/view.ts'
import { KEY, piecesOf, seal, through } from '../engine/seal/through.ts'

function shown(message: string | Buffer, step = 1 << 20, cut = false): ShownMessage {
  const octets = typeof message === 'string' ? Buffer.from(message, 'latin1') : message
  const reader = new PartReader()
  for (let at = 0; at < octets.length; at += step) reader.push(octets.subarray(at, at + step))
  const root = reader.end(cut)
  assert.ok(root !== null)
  return viewOf(root)
}

/** With the attachments' octets, to be compared. */
async function whole(view: ShownMessage): Promise<unknown> {
  const sections = view.sections.map(async (section) => {
    if (section.kind === 'message') return whole(section.message)
    if (section.kind === 'text') return section
    const images = section.images.map(async (image) => [image.contentId, await hex(image.octets)])
    return { ...section, images: await Promise.all(images) }
  })
  const attachments = view.attachments.map(async (one) => ({ ...one, octets: await hex(one.octets) }))
  return { ...view, sections: await Promise.all(sections), attachments: await Promise.all(attachments) }
}

const hex = async (blob: Blob): Promise<string> => Buffer.from(await blob.arrayBuffer()).toString('hex')
const lines = (...all: string[]): string => all.join('\r\n')

test('encoded words, raw octets, parameters of RFC 2231', () => {
  for (const [value, wanted] of [
    ['=?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle', 'Grüße an alle'],
    ['=?UTF-8?B?8J+Y?= =?utf-8?B?gA==?=', '😀'],
    ['=?iso-8859-1?q?a?= =?iso-8859-2?q?=B1?=', 'aą'],
    ['=?utf-8*de?q?x=5Fy_z?=', 'x_y z'],
    ['=?no-such?q?abc?=', 'abc'],
    ['=?utf-8?q?broken', '=?utf-8?q?broken'],
    [Buffer.from('Grüße').toString('latin1'), 'Grüße'],
    ['Gr\xfc\xdfe', 'Grüße'],
  ] as const) {
    assert.equal(decodeWords(value), wanted)
  }
  const name = (value: string): string | null => parameterOf([{ name: 'FileName*', value }], 'filename')
  assert.equal(name("utf-8''%e2%82%ac%20rates"), '€ rates')
  assert.equal(name('no quotes'), 'no quotes')
  assert.equal(parameterOf([{ name: 'name', value: '=?utf-8?q?=E2=82=AC?=' }], 'name'), '€')
  assert.equal(parameterOf([], 'name'), null)
})

const MESSAGE = lines(
  'From: =?utf-8?q?J=C3=B6rg?= <joerg@x.org>',
  'Subject: Plans',
  'Content-Type: multipart/mixed; boundary=outer',
  '',
  'preamble',
  '--outer',
  'Content-Type: multipart/alternative; boundary="a b"',
  '',
  '--a b',
  'Content-Type: text/plain; charset=iso-8859-1',
  'Content-Transfer-Encoding: quoted-printable',
  '',
  'Gr=FC=DFe=20=',
  'und Tsch=FCss',
  '--a b',
  'Content-Type: multipart/related; boundary=rel',
  '',
  '--rel',
  'Content-Type: text/html; charset=utf-8',
  '',
  '<p>hello <img src="cid:i@x"></p>',
  '--rel',
  'Content-Type: image/png',
  'Content-ID: <i@x>',
  'Content-Transfer-Encoding: base64',
  '',
  'iVBORw0K',
  '--rel',
  'Content-Type: image/svg+xml; name=unused.svg',
  'Content-ID: <svg@x>',
  '',
  '<svg/>',
  '--rel--',
  '--a b--',
  '--outer',
  'Content-Type: message/rfc822',
  '',
  'Subject: inner',
  'Content-Type: multipart/mixed; boundary=in',
  '',
  '--in',
  '',
  'inner text',
  '--in',
  "Content-Disposition: attachment; filename*=utf-8''%C3%BC.bin",
  'Content-Transfer-Encoding: base64',
  '',
  'AAEC',
  'Aw==',
  '--in--',
  '--outer--',
  'epilogue',
  '',
)

const INNER = lines(
  'Subject: within',
  'Content-Type: multipart/mixed; boundary=in',
  '',
  '--in',
  '',
  'a cormorant',
  '--in',
  'Content-Type: application/octet-stream; name=x.bin',
  'Content-Transfer-Encoding: base64',
  '',
  'AAEC',
  '--in--',
  '',
)

/** Encoded as mail programs do that know better: RFC 2046 §5.2.1 forbids it. */
function encodedIn(message: string, encoding: 'base64' | 'quoted-printable' | 'x-unknown'): string {
  const octets = Buffer.from(message, 'latin1')
  const body =
    encoding === 'base64' ? octets.toString('base64').replace(/.{76}/g, '$&\r\n') : message.replaceAll('=', '=3D')
  return lines('Content-Type: message/rfc822', `Content-Transfer-Encoding: ${encoding}`, '', body)
}

test('a nested message that came encoded is shown as one, and saved as what it was', async () => {
  for (const encoding of ['base64', 'quoted-printable'] as const) {
    const message = lines(
      'Subject: forwarded',
      'Content-Type: multipart/mixed; boundary=out',
      '',
      '--out',
      encodedIn(INNER, encoding),
      '--out--',
      '',
    )
    const view = shown(message)
    const [section] = view.sections
    assert.ok(section?.kind === 'message' && view.sections.length === 1)
    assert.equal(section.message.subject, 'within')
    assert.deepEqual(section.message.sections, [{ kind: 'text', text: 'a cormorant', complete: true }])
    assert.equal(await hex(section.message.attachments[0]!.octets), '000102')
    assert.deepEqual(
      view.attachments.map(({ name, complete }) => [name, complete]),
      [['within.eml', true]],
    )
    assert.equal(await hex(view.attachments[0]!.octets), Buffer.from(INNER, 'latin1').toString('hex'))
    for (const step of [1, 5, 77]) assert.deepEqual(await whole(shown(message, step)), await whole(view))
    // Cut in the middle of it: what is there is read.
    const half = shown(message.slice(0, message.length - 40), 100, true)
    assert.ok(half.sections[0]?.kind === 'message' && half.attachments[0]?.complete === false)
  }
})

test('encoded messages in each other are read to a bound, an encoding that nobody knows is not guessed at', async () => {
  let message = INNER
  for (let n = 0; n < 6; n++) message = encodedIn(message, 'base64')
  let view = shown(message)
  let levels = 0
  for (; view.sections[0]?.kind === 'message'; levels++) view = view.sections[0].message
  assert.equal(levels, 3)
  assert.equal(view.attachments.length, 1)
  const unknown = shown(encodedIn(INNER, 'x-unknown'))
  assert.deepEqual([unknown.sections, unknown.attachments.length], [[], 1])
})

test('alternatives, inline images, nested messages, attachments; the same for every cut of the input', async () => {
  const view = shown(MESSAGE)
  assert.equal(view.from, 'Jörg <joerg@x.org>')
  const [html, nested] = view.sections
  assert.ok(html?.kind === 'html' && nested?.kind === 'message' && view.sections.length === 2)
  assert.equal(html.text, 'Grüße und Tschüss')
  assert.match(html.html, /^<p>hello/)
  assert.deepEqual(
    html.images.map(({ contentId, type }) => [contentId, type]),
    [['i@x', 'image/png']],
  )
  assert.deepEqual(
    view.attachments.map(({ name, octets }) => [name, octets.type]),
    [
      ['unused.svg', 'application/octet-stream'],
      ['inner.eml', 'application/octet-stream'],
    ],
  )
  const { message } = nested
  assert.deepEqual(message.sections, [{ kind: 'text', text: 'inner text', complete: true }])
  assert.equal(message.attachments[0]?.name, 'ü.bin')
  assert.equal(await hex(message.attachments[0]!.octets), '00010203')
  const start = MESSAGE.indexOf('Subject: inner')
  const eml = MESSAGE.slice(start, MESSAGE.indexOf('\r\n--outer--'))
  assert.equal(await hex(view.attachments[1]!.octets), Buffer.from(eml, 'latin1').toString('hex'))
  const expected = await whole(view)
  for (const step of [1, 2, 3, 7, 64, 500])
    assert.deepEqual(await whole(shown(MESSAGE, step)), expected, `step ${step}`)
})

test('a message that ends too early says of which parts', () => {
  const at = MESSAGE.indexOf('AAEC') + 6
  const view = shown(MESSAGE.slice(0, at), 100, true)
  const nested = view.sections[1]
  assert.ok(nested?.kind === 'message')
  assert.equal(nested.message.attachments[0]?.complete, false)
  assert.equal(view.sections[0]?.kind === 'html' && view.sections[0].complete, true)
})

test('what is no multipart after all, or has an encoding that it may not have, is still shown', () => {
  const broken = lines('Content-Type: multipart/mixed; boundary=b', '', 'only text', '')
  assert.deepEqual(shown(broken).sections, [{ kind: 'text', text: 'only text\r\n', complete: true }])
  const none = lines('Content-Type: multipart/alternative', '', '--b', '', 'text', '--b--', '')
  assert.match((shown(none).sections[0] as { text: string }).text, /text/)
  const encoded = lines(
    ...['Content-Type: multipart/mixed; boundary=b', 'Content-Transfer-Encoding: quoted-printable', ''],
    ...['--b', '', 'text', '--b', 'Content-Type: multipart/mixed; boundary=c', 'Content-Disposition: attachment', ''],
    ...['--c', '', 'inner', '--c--', '--b--', ''],
  )
  assert.deepEqual(
    shown(encoded).sections.map((section) => section.kind === 'text' && section.text),
    ['text', 'inner'],
  )
})

test('names for files', () => {
  assert.equal(safeName('../../etc/passwd'), '_.._etc_passwd')
  assert.equal(safeName('a\u202egpj.exe'), 'agpj.exe')
  assert.equal(safeName('con<b>"?*.txt. '), 'con_b____.txt')
  assert.equal(safeName('\0\r\n'), '')
})

test('whatever comes, something can be shown', () => {
  const piece = fc.constantFrom(
    ...[
      'Content-Type: multipart/mixed; boundary=b',
      'Content-Type: message/rfc822',
      '--b',
      '--b--',
      '',
      'text',
      '\0\xff',
    ],
    ...[
      'Content-Transfer-Encoding: base64',
      'Content-Transfer-Encoding: quoted-printable',
      'AAEC=',
      '=3',
      '=?utf-8?b?',
      ':',
    ],
    ...[
      'Content-Disposition: attachment; filename*0*=x; filename*1="',
      'Content-Type: multipart/alternative; boundary=c',
      '--c',
    ],
    ...[
      'Content-Type: multipart/related; boundary=b',
      'Content-Type: text/html; charset=utf-7',
      'Content-ID: <',
      'Date: x',
    ],
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.integer({ min: 1, max: 60 }), fc.boolean(), (all, step, cut) => {
      const octets = Buffer.from(all.join('\r\n'), 'latin1')
      const reader = new PartReader()
      try {
        for (let at = 0; at < octets.length; at += step) reader.push(octets.subarray(at, at + step))
        const root = reader.end(cut)
        if (root !== null) viewOf(root)
      } catch (error) {
        assert.ok(error instanceof GatewayError, String(error))
      }
    }),
    { numRuns: 1500 },
  )
})

test('real mail: everything in it can be shown', () => {
  const folder = new URL('../../../shared/corpus/', import.meta.url)
  let files: string[]
  try {
    files = readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.eml')) as string[]
  } catch (error) {
    // Only where the project lies beside it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  for (const name of files) {
    const octets = readFileSync(new URL(encodeURI(name), folder))
    if (octets.length === 0 || octets.length > 4 << 20) continue
    const view = shown(octets, 4096)
    const [, body] = octets.toString('latin1').split(/\r?\n\s*\r?\n(.*)/s)
    // One has preambles and epilogues and nothing else.
    const isEmpty =
      !/\w/.test((body ?? '').replace(/^--.*$/gm, '')) || name.includes('multipartnestedemptypartsnorfc822')
    assert.ok(isEmpty || view.sections.length + view.attachments.length > 0, name)
  }
})

test('parts that came in plain are marked, wherever they stand, and no others', () => {
  const leaf = (text: string, header = 'Content-Type: text/plain') => lines('--b', header, '', text, '')
  const attached = 'Content-Type: image/png\r\nContent-Disposition: attachment; filename=x.png'
  const head = lines('Message-ID: <a@b>', 'Content-Type: multipart/mixed; boundary=b', '', '')
  const message = `${head}${leaf('genuine')}${leaf('genuine too', attached)}--b--\r\n`
  const sealed = seal(Buffer.from(message), { options: { settings: { banners: [] } } }).toString('latin1')
  const put = [leaf('put in'), leaf('<b>put in</b>', 'Content-Type: text/html'), leaf('put in', attached)]
  const altered = sealed.replace('\r\n--b\r\n', `\r\n${put[0]}--b\r\n`).replace(/^--b--/m, `${put[1]}${put[2]}--b--`)
  for (const step of [1, 7, 1 << 20]) {
    const opener = new Opener({ maxbufOctets: 1 << 20 })
    const opened = through(opener, piecesOf(step)(Buffer.from(altered, 'latin1')), { key: KEY })
    const reader = new PartReader()
    for (const piece of piecesOf(step)(opened)) reader.push(piece)
    const { sections, attachments } = viewOf(reader.end(false)!, opener.facts.unsealedAt)
    const marks = [...sections, ...attachments].map((shown) => 'unsealed' in shown)
    assert.deepEqual(marks, [true, false, true, false, true], opened.toString('latin1'))
  }
})

test('what came in plain takes the place of nothing: no alternative, no image within the text, no message unmarked', () => {
  const part = (header: string, text: string, boundary = 'b') => lines(`--${boundary}`, header, '', text, '')
  const of = (kind: string, boundary: string) => `Content-Type: multipart/${kind}; boundary=${boundary}`
  const [plain, html] = ['Content-Type: text/plain', 'Content-Type: text/html']
  const image = lines('Content-Type: image/png', 'Content-ID: <i@x>').trimEnd()
  const within = (outer: string, parts: string): string =>
    `${lines('Message-ID: <a@b>', outer, '')}\r\n${parts}--b--\r\n`
  const related = `${lines('--b', of('related', 'c'), '')}\r\n${part(html!, '<img src="cid:i@x">', 'c')}${part(image, 'own', 'c')}--c--\r\n`
  const inner = part('Content-Type: message/rfc822', lines('Subject: within', plain!, '', 'put in').trimEnd())
  const putIn = (message: string, boundary: string, foreign: string): string[] => {
    const sealed = seal(Buffer.from(message), { options: { settings: { banners: [] } } }).toString('latin1')
    const end = new RegExp(`^--${boundary}--`, 'm')
    assert.match(sealed, end)
    const opener = new Opener({ maxbufOctets: 1 << 20 })
    const altered = Buffer.from(sealed.replace(end, `${foreign}--${boundary}--`), 'latin1')
    const reader = new PartReader()
    reader.push(through(opener, [altered], { key: KEY }))
    const { sections, attachments } = viewOf(reader.end(false)!, opener.facts.unsealedAt)
    const images = sections.flatMap((section) => (section.kind === 'html' ? section.images : []))
    const texts = sections.flatMap((section) => (section.kind === 'html' ? [section.text] : []))
    return [
      ...[...sections, ...attachments].map((one) => `${'kind' in one ? one.kind : one.name} ${'unsealed' in one}`),
      ...texts.map((text) => `text ${text?.trim() ?? 'none'}`),
      `images ${images.length}`,
    ]
  }
  const both = within(of('alternative', 'b'), part(plain!, 'own') + part(html!, '<p>own'))
  const own = ['html false', 'text own', 'images 0']
  const behind = (mark: string): string[] => [
    own[0]!,
    mark,
    own[1]!,
    ...(mark.startsWith('html') ? ['text none'] : []),
    own[2]!,
  ]
  assert.deepEqual(putIn(both, 'b', part(html!, '<p>put in')), behind('html true'))
  assert.deepEqual(putIn(within(of('alternative', 'b'), part(html!, '<p>own')), 'b', part(plain!, 'put in')), [
    'html false',
    'text true',
    'text none',
    'images 0',
  ])
  const nest = `${lines('--b', of('related', 'd'), '')}\r\n${part(html!, '<p>put in', 'd')}--d--\r\n`
  assert.deepEqual(putIn(both, 'b', nest), behind('html true'))
  assert.deepEqual(putIn(within(of('mixed', 'b'), related), 'c', part(image, 'put in', 'c')), [
    'html false',
    'attachment.png true',
    'text none',
    'images 1',
  ])
  assert.deepEqual(putIn(within(of('mixed', 'b'), part(plain!, 'own')), 'b', inner), [
    'text false',
    'message true',
    'within.eml true',
    'images 0',
  ])
})

test('a part that came in plain is marked behind a thousand others, too', () => {
  const leaf = (text: string) => lines('--b', 'Content-Type: text/plain', '', text, '')
  const message = `${lines('Message-ID: <a@b>', 'Content-Type: multipart/mixed; boundary=b', '', '')}${leaf('genuine')}--b--\r\n`
  const sealed = seal(Buffer.from(message), { options: { settings: { banners: [] } } }).toString('latin1')
  for (const many of [900, 1100]) {
    const opener = new Opener({ maxbufOctets: 1 << 20 })
    const altered = sealed.replace(/^--b--/m, `${leaf('').repeat(many)}${leaf('pay here')}--b--`)
    const reader = new PartReader()
    reader.push(through(opener, [Buffer.from(altered, 'latin1')], { key: KEY }))
    const { sections } = viewOf(reader.end(false)!, opener.facts.unsealedAt)
    assert.deepEqual(
      sections.map((section) => 'unsealed' in section),
      [false, true],
    )
  }
})

test('a copy that is cut anywhere is told to be cut, and its last header not to be somebody else’s part', () => {
  const file = '--b\r\nContent-Disposition: attachment\r\n\r\nx\r\n'
  const sealed = seal(
    Buffer.from(`Message-ID: <m@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${file.repeat(4)}--b--\r\n`),
  )
  const body = sealed.indexOf('\r\n\r\n') + 4
  let halfHeaders = 0
  let placeless = 0
  for (let end = body; end < sealed.length - 6; end++) {
    const opener = new Opener({ maxbufOctets: 1 << 16 })
    const reader = new PartReader()
    let isBroken = false
    try {
      reader.push(through(opener, [sealed.subarray(0, end)], { key: KEY }))
    } catch (error) {
      assert.ok(error instanceof GatewayError && error.code === 'SEAL_BROKEN')
      isBroken = true
    }
    const { facts } = opener
    const copy = { endsAtLimit: true, isBroken }
    reader.end(isCut(facts, copy))
    if (facts.unsealedParts > 0) halfHeaders++
    const told = toldOf(facts, { ...copy, shownOctets: reader.readOctets })
    // In the first line of a header the opener sees no header at all, and cannot say where.
    const isPlaceless = facts.unsealedParts > facts.unsealedAt.length
    if (isPlaceless) placeless++
    assert.deepEqual(told, { cut: true, isIncomplete: false, hasUnsealed: isPlaceless, isAltered: false }, `${end}`)
    // Of another length it was not the spool that cut it.
    assert.equal(toldOf(facts, { ...copy, endsAtLimit: false, shownOctets: reader.readOctets }).cut, false)
  }
  assert.ok(halfHeaders > 2 * placeless, 'where a header is cut, the opener cannot know that its part is sealed')
})

test('a part in plain in place of a sealed one is told, also where the copy is cut further on', () => {
  const long = `Content-Disposition: attachment\r\n\r\n${'x'.repeat(2000)}`
  const sealed = seal(
    Buffer.from(
      `Message-ID: <m@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n${long}\r\n--b--\r\n`,
    ),
  ).toString('latin1')
  const forged = sealed.replace(
    /Content-Type: application\/vnd\.ves\.encrypted\r\nContent-Transfer-Encoding: base64\r\n\r\n[^\r]*/,
    '\r\npay to another account',
  )
  assert.notEqual(forged, sealed)
  const opener = new Opener({ maxbufOctets: 1 << 16 })
  assert.throws(() => through(opener, [Buffer.from(forged.slice(0, -300), 'latin1')], { key: KEY }), GatewayError)
  const { facts } = opener
  assert.equal(toldOf(facts, { endsAtLimit: true, isBroken: true, shownOctets: 1 << 20 }).hasUnsealed, true)
})
