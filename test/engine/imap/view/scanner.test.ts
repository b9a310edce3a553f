import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../../src/base/errors.ts'
import { answerItem } from '../../../../src/engine/imap/view/answer.ts'
import { type KnownPart, type PartView, viewFromParts } from '../../../../src/engine/imap/view/message-view.ts'
import { type MessageView, SCAN_LIMITS, StructureScanner } from '../../../../src/engine/imap/view/scanner.ts'
import { findPart, resolveSection } from '../../../../src/engine/imap/view/sections.ts'
import { ServedOctets } from '../../../../src/engine/imap/view/served-octets.ts'
import { chunksOf, everySplit } from '../every-split.ts'

const FIXTURES = new URL('./fixtures/', import.meta.url)

function served(chunks: readonly Buffer[]): Buffer {
  const normal = new ServedOctets()
  return Buffer.concat([...chunks.flatMap((chunk) => normal.push(chunk)), ...normal.end()])
}

function scan(chunks: readonly Buffer[], limits = SCAN_LIMITS): MessageView {
  const scanner = new StructureScanner(limits)
  for (const chunk of chunks) scanner.push(chunk)
  return scanner.end()
}

/** All that a view says, without references up the tree. */
function told(view: MessageView): unknown {
  const part = ({ kind, start, header, body, headerOctets, children }: PartView): unknown => ({
    kind,
    start,
    header: { ...header },
    body: { ...body },
    headerOctets: headerOctets.toString('latin1'),
    children: children.map(part),
  })
  return { root: part(view.root), size: { ...view.size }, hasNuls: view.hasNuls }
}

function text(view: MessageView, kind: 'envelope' | 'bodystructure' | 'size'): string {
  return answerItem(view, { kind })
    .map((piece) => ('bytes' in piece ? piece.bytes.toString('latin1') : ''))
    .join('')
}

const lines = (...all: string[]): Buffer => Buffer.from(`${all.join('\r\n')}\r\n`, 'latin1')

describe('StructureScanner', () => {
  for (const name of readdirSync(FIXTURES).filter((each) => each.endsWith('.eml') && !each.startsWith('deep'))) {
    it(`says the same for every split of ${name}`, () => {
      const octets = served([readFileSync(new URL(name, FIXTURES))])
      everySplit(octets, (chunks) => told(scan(chunks)))
    })
  }

  it('counts every octet once', () => {
    const view = scan([
      lines('Content-Type: multipart/mixed; boundary=b', '', '--b', '', 'one', '--b', 'A: b', '', '--b--', 'end'),
    ])
    assert.deepEqual(view.size, { octets: 82, lines: 10 })
    const [one, two] = view.root.children
    assert.deepEqual({ ...one!.body }, { octets: 3, lines: 0 })
    // The blank line of an empty part belongs to the delimiter behind it.
    assert.deepEqual({ ...two!.header }, { octets: 6, lines: 1 })
  })

  it('refuses a header block beyond its limit, and all of them together', () => {
    const limits = { maxHeaderOctets: 100, maxHeadersOctets: 300 }
    const tooLarge = (error: unknown): boolean =>
      error instanceof GatewayError && error.code === 'MIME_HEADER_TOO_LARGE'
    assert.throws(() => scan([Buffer.alloc(101, 0x61)], limits), tooLarge)
    assert.doesNotThrow(() => scan([lines('a'.repeat(90), '', 'x'.repeat(10_000))], limits))
    const part = ['--b', `A: ${'x'.repeat(80)}`, '', 'y']
    assert.throws(
      () => scan([lines('Content-Type: multipart/mixed; boundary=b', '', ...part, ...part, ...part)], limits),
      tooLarge,
    )
  })

  it('takes no part beyond the 10,000th', () => {
    const parts = Array.from({ length: 10_005 }, () => '--b\r\n\r\nx').join('\r\n')
    const view = scan(chunksOf(lines('Content-Type: multipart/mixed; boundary=b', '', parts), 65_536))
    assert.equal(view.root.children.length, 9999)
    assert.equal(view.root.children.at(-1)!.body.octets, 6 * 10 + 3)
  })

  it('gives a result or a GatewayError for anything, whole or in pieces', () => {
    const words = [
      '--b',
      '--b--',
      '--bb',
      '--',
      '-',
      '\r\n',
      '\r',
      '\n',
      ' ',
      'a: b',
      'Content-Type: ',
      'multipart/mixed; boundary=b',
      'multipart/digest; boundary="bb"',
      'message/rfc822',
      'text/plain',
      'From: ',
      '"',
      '(',
      ')',
      '<',
      '>',
      '@',
      ',',
      ';',
      ':',
      '\\',
      '\0',
      '\xe9',
      '=?utf-8?q?x?=',
      'MIME-Version: 1.0',
      '*0*=',
      'name*',
      '=',
      '.',
      '[',
    ] // prettier-ignore
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 60 }), fc.nat({ max: 40 }), (picked, size) => {
        const raw = Buffer.from(picked.join(''), 'latin1')
        const octets = served([raw])
        assert.deepEqual(served(chunksOf(raw, size + 1)), octets)
        const view = scan([octets])
        assert.deepEqual(told(scan(chunksOf(octets, size + 1))), told(view))
        assert.equal(view.size.octets, octets.length)
        for (const kind of ['envelope', 'bodystructure', 'size'] as const) assert.ok(text(view, kind).length > 0)
        for (const part of [[], [1], [2, 1], [1, 1, 1]]) {
          for (const each of ['HEADER', 'TEXT', 'MIME', null] as const) {
            const { octets: length, pieces } = resolveSection(view, { part, text: each, fields: [] }, null)
            const sum = pieces.reduce(
              (all, piece) => all + ('bytes' in piece ? piece.bytes.length : piece.end - piece.start),
              0,
            )
            assert.equal(sum, length)
          }
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('resolveSection', () => {
  const message = lines('Subject: s', 'From: a@b', '', 'body')
  const view = scan([message])
  const octetsOf = (start: number, count: number | null, fields: readonly string[] = []): string => {
    const section = { part: [], text: fields.length > 0 ? ('HEADER.FIELDS' as const) : null, fields }
    const { pieces } = resolveSection(view, section, { start, count })
    const bytes = pieces.map((piece) => ('bytes' in piece ? piece.bytes : message.subarray(piece.start, piece.end)))
    return Buffer.concat(bytes).toString('latin1')
  }

  it('slices at and beyond the edges', () => {
    assert.equal(octetsOf(0, 7), 'Subject')
    assert.equal(octetsOf(message.length - 1, 10), '\n')
    assert.equal(octetsOf(message.length, 10), '')
    assert.equal(octetsOf(4_294_967_295, 4_294_967_295), '')
    assert.equal(octetsOf(3, 0), '')
    assert.equal(octetsOf(message.length - 6, null), 'body\r\n')
    assert.equal(octetsOf(4, 12, ['from', 'SUBJECT']), 'ect: s\r\nFrom')
  })

  it('finds no part where there is none', () => {
    assert.equal(findPart(view.root, [1]), view.root)
    for (const path of [[0], [2], [1, 1], [4_294_967_295]]) assert.equal(findPart(view.root, path), null)
  })
})

describe('viewFromParts', () => {
  it('answers as the scanner does, without bodies', () => {
    for (const name of ['rfc822-nested.eml', 'parameters.eml', 'boundaries.eml', 'plain-7bit.eml']) {
      const scanned = scan([served([readFileSync(new URL(name, FIXTURES))])])
      const known = ({ headerOctets, header, body, children }: PartView): KnownPart => ({
        header: headerOctets.subarray(0, header.octets),
        body,
        children: children.map(known),
      })
      const view = viewFromParts(known(scanned.root))
      for (const kind of ['envelope', 'bodystructure', 'size'] as const)
        assert.equal(text(view, kind), text(scanned, kind), name)
    }
  })

  it('refuses children that the header does not allow', () => {
    const leaf: KnownPart = { header: lines('Subject: x', ''), body: { octets: 0, lines: 0 }, children: [] }
    assert.throws(() => viewFromParts({ ...leaf, children: [leaf] }), RangeError)
    assert.throws(() => viewFromParts({ ...leaf, header: lines('Content-Type: message/rfc822', '') }), RangeError)
  })
})

describe('ServedOctets', () => {
  it('gives each line one CRLF, as the server does', () => {
    const cases = [
      ['a\nb', 'a\r\nb'],
      ['a\r\n', 'a\r\n'],
      ['a\r\r\n', 'a\r\n'],
      ['a\r\r\r\n', 'a\r\r\n'],
      ['a\rb', 'a\rb'],
      ['a\r', 'a'],
      ['\r\r', '\r'],
      ['\n\n', '\r\n\r\n'],
      ['', ''],
    ] // prettier-ignore
    for (const [stored, given] of cases) {
      const octets = Buffer.from(stored!)
      assert.equal(served([octets]).toString(), given)
      if (octets.length > 1) everySplit(octets, (chunks) => served(chunks).toString())
    }
  })
})
