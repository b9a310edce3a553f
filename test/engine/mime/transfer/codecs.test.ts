import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import {
  encodeBase64Layout,
  isBase64Layout,
  layoutOfBase64,
} from '../../../../src/engine/mime/transfer/base64-layout.ts'
import {
  base64EncodedOctets,
  MAX_QP_HELD,
  maxBase64Decoded,
  maxQuotedPrintable,
  QP_LOOK_AHEAD,
  type TransferCodecs,
} from '../../../../src/engine/mime/transfer/codecs.ts'
import {
  decodeQuotedPrintableText,
  encodeQuotedPrintableText,
} from '../../../../src/engine/mime/transfer/quoted-printable-text.ts'
import { onEachPath } from '../../seal/both-paths.ts'
import {
  plainDecodeBase64,
  plainDecodeQuotedPrintable,
  plainEncodeBase64,
  plainEncodeQuotedPrintable,
} from './twins.ts'

/** A guard octet behind the room that was promised: writing past it shows. */
function roomy(octets: number): { out: Buffer; check(written: number): Buffer } {
  const all = Buffer.alloc(octets + 8, 0xa5)
  return {
    out: all.subarray(0, octets),
    check(written) {
      assert.ok(written <= octets, `${written} of ${octets} octets`)
      assert.deepEqual(all.subarray(octets), Buffer.alloc(8, 0xa5), 'wrote past the end')
      return all.subarray(0, written)
    },
  }
}

function cut(input: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0, i = 0; at < input.length; i++) {
    const size = sizes.length === 0 ? input.length : sizes[i % sizes.length]!
    pieces.push(input.subarray(at, at + size))
    at += size
  }
  return pieces
}

function decodeBase64In(codecs: TransferCodecs, pieces: readonly Buffer[]): Buffer {
  const carry = new Uint32Array(2)
  return Buffer.concat(
    [...pieces, null].map((piece) => {
      const input = piece ?? Buffer.alloc(0)
      const { out, check } = roomy(maxBase64Decoded(input.length))
      return check(codecs.decodeBase64(input, carry, piece === null, out))
    }),
  )
}

function encodeBase64In(
  codecs: TransferCodecs,
  pieces: readonly Buffer[],
  width: number,
  separator: string,
  padded: boolean,
): string {
  const column = new Uint32Array(1)
  const chunks: Buffer[] = []
  let held: Buffer = Buffer.alloc(0)
  for (const piece of [...pieces, null]) {
    const input = piece === null ? held : Buffer.concat([held, piece])
    const whole = piece === null ? input.length : input.length - (input.length % 3)
    held = input.subarray(whole)
    const { out, check } = roomy(base64EncodedOctets(whole, width, separator.length, padded, column[0]))
    const written = codecs.encodeBase64(
      input.subarray(0, whole),
      piece === null,
      width,
      Buffer.from(separator, 'latin1'),
      padded,
      column,
      out,
    )
    assert.equal(written, out.length)
    chunks.push(check(written))
  }
  return Buffer.concat(chunks).toString('latin1')
}

function decodeQpIn(codecs: TransferCodecs, pieces: readonly Buffer[]): Buffer {
  let held: Buffer = Buffer.alloc(0)
  const consumed = new Uint32Array(1)
  return Buffer.concat(
    [...pieces, null].map((piece) => {
      const input = piece === null ? held : Buffer.concat([held, piece])
      const { out, check } = roomy(input.length)
      const written = codecs.decodeQuotedPrintable(input, piece === null, consumed, out)
      held = input.subarray(consumed[0])
      assert.ok(held.length <= MAX_QP_HELD, `${held.length} octets held`)
      if (piece === null) assert.equal(held.length, 0)
      return check(written)
    }),
  )
}

function encodeQpIn(codecs: TransferCodecs, pieces: readonly Buffer[]): string {
  let held: Buffer = Buffer.alloc(0)
  const state = new Uint32Array(2)
  return Buffer.concat(
    [...pieces, null].map((piece) => {
      const input = piece === null ? held : Buffer.concat([held, piece])
      const { out, check } = roomy(maxQuotedPrintable(input.length))
      const written = codecs.encodeQuotedPrintable(input, piece === null, state, out)
      held = input.subarray(state[1])
      assert.ok(held.length <= QP_LOOK_AHEAD)
      if (piece === null) assert.equal(held.length, 0)
      return check(written)
    }),
  ).toString('latin1')
}

const octets = fc.uint8Array({ maxLength: 600 }).map((array) => Buffer.from(array))
const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 0, maxLength: 4 })
const mailText = fc
  .array(
    fc.constantFrom(
      'a',
      'Z',
      '9',
      '+',
      '/',
      '=',
      '==',
      '\r\n',
      '\n',
      '\r',
      ' ',
      '\t',
      '=\r\n',
      '=3D',
      '=3d',
      '=C3=A9',
      '= \t\r\n',
      'é',
      '\0',
      '.',
      'word',
      '='.repeat(3),
      ' '.repeat(78),
      'x'.repeat(74),
      'AAAA'.repeat(19),
    ),
    {
      maxLength: 60,
    },
  )
  .map((words) => Buffer.from(words.join(''), 'latin1'))

onEachPath('base64', ({ codecs }) => {
  it('decodes the examples of RFC 4648 §10, and what mail makes of them', () => {
    const cases: [string, string][] = [
      ['', ''],
      ['Zg==', 'f'],
      ['Zm8=', 'fo'],
      ['Zm9v', 'foo'],
      ['Zm9vYg==', 'foob'],
      ['Zm9vYmE=', 'fooba'],
      ['Zm9vYmFy', 'foobar'],
      ['Zm 9v\r\nYm\tFy\r\n', 'foobar'],
      ['Zm9vYg', 'foob'],
      ['Zm9vYmE', 'fooba'],
      ['Zm9vY', 'foo'],
      ['Zg==Zg==', 'ff'],
      ['Zm9v!*-_Ym\0Fy', 'foobar'],
      ['====Zm9v=', 'foo'],
    ]
    for (const [text, expected] of cases) {
      const input = Buffer.from(text, 'latin1')
      assert.equal(decodeBase64In(codecs, [input]).toString('latin1'), expected, JSON.stringify(text))
      assert.equal(plainDecodeBase64(input).toString('latin1'), expected, `twin ${JSON.stringify(text)}`)
    }
  })

  it('decodes any octets as the twin does, in any pieces', () => {
    fc.assert(
      fc.property(fc.oneof(octets, mailText), sizes, (input, pieces) => {
        assert.deepEqual(decodeBase64In(codecs, cut(input, pieces)), plainDecodeBase64(input))
      }),
    )
  })

  it('decodes every alphabet octet and skips every other one', () => {
    for (let octet = 0; octet < 256; octet++) {
      for (const around of ['', 'A', 'AB', 'ABC', 'ABCDABCDABCDABCDABCDABCDABCDABCDABCDABCD']) {
        const input = Buffer.concat([Buffer.from(around), Buffer.of(octet), Buffer.from('WXYZ'.repeat(20))])
        assert.deepEqual(decodeBase64In(codecs, [input]), plainDecodeBase64(input), `${octet} after ${around}`)
      }
    }
  })

  it('encodes as the twin does, any layout, in any pieces', () => {
    const separators = fc.constantFrom('\r\n', '\n', ' \r\n', '\r\n\t', ' ', '\r\n\r\n\r\n\r\n\r\n\r\n\r\n  ')
    fc.assert(
      fc.property(
        octets,
        sizes,
        fc.integer({ min: 0, max: 100 }),
        separators,
        fc.boolean(),
        (input, pieces, width, separator, padded) => {
          assert.equal(
            encodeBase64In(codecs, cut(input, pieces), width, separator, padded),
            plainEncodeBase64(input, width, separator, padded),
          )
        },
      ),
    )
  })

  it('encodes bodies longer than a block', () => {
    const input = Buffer.from(Array.from({ length: 200_001 }, (_, i) => (i * i) >> 3))
    for (const width of [76, 64, 75, 4, 0]) {
      const expected = plainEncodeBase64(input, width, '\r\n', true)
      assert.equal(encodeBase64In(codecs, cut(input, [70_000, 3]), width, '\r\n', true), expected)
      assert.deepEqual(decodeBase64In(codecs, cut(Buffer.from(expected), [65_536, 1])), input)
    }
  })

  it('refuses a buffer without room rather than write past it', () => {
    const input = Buffer.alloc(300, 0x41)
    assert.throws(() => codecs.decodeBase64(input, new Uint32Array(2), true, Buffer.alloc(10)), RangeError)
    const column = new Uint32Array(1)
    assert.throws(
      () => codecs.encodeBase64(input, true, 76, Buffer.from('\r\n'), true, column, Buffer.alloc(100)),
      RangeError,
    )
    assert.throws(() => codecs.decodeQuotedPrintable(input, true, column, Buffer.alloc(10)), RangeError)
    assert.throws(() => codecs.encodeQuotedPrintable(input, true, new Uint32Array(2), Buffer.alloc(10)), RangeError)
  })
})

onEachPath('base64 layouts', ({ codecs }) => {
  const data = Buffer.from(Array.from({ length: 200 }, (_, i) => i))

  it('finds the layouts that mail programs use, and writes the same text again', () => {
    const base = { width: 76, separator: '\r\n', before: '', ending: '\r\n', padded: true }
    const layouts = [
      base,
      { ...base, ending: '' },
      { ...base, separator: '\n', ending: '\n' },
      { ...base, width: 60 },
      { ...base, width: 64 },
      { ...base, width: 72, ending: '\r\n\r\n' },
      { ...base, width: 75 },
      { ...base, separator: ' \r\n', ending: ' \r\n' },
      { ...base, separator: '\r\n ', before: ' ', ending: '' },
      { ...base, padded: false },
      { ...base, width: 0, separator: '' },
      { ...base, before: '\r\n' },
    ]
    for (const layout of layouts) {
      const text = encodeBase64Layout(codecs, data, layout)
      assert.ok(isBase64Layout(layout))
      assert.deepEqual(layoutOfBase64(codecs, text), layout, JSON.stringify(layout))
    }
  })

  it('knows short and empty texts', () => {
    for (const text of ['', '\r\n', 'Zg==', 'Zg==\r\n', 'Zg', ' Zg==', 'Zm9v\n', '\n\n']) {
      const layout = layoutOfBase64(codecs, Buffer.from(text))
      assert.ok(layout, JSON.stringify(text))
      const again = encodeBase64Layout(codecs, plainDecodeBase64(Buffer.from(text)), layout)
      assert.equal(again.toString('latin1'), text)
    }
  })

  it('has none for irregular text', () => {
    const regular = encodeBase64Layout(codecs, data, {
      width: 76,
      separator: '\r\n',
      before: '',
      ending: '\r\n',
      padded: true,
    })
    for (const at of [0, 10, 76, 77, 100, 230, regular.length - 3]) {
      const bent = Buffer.concat([regular.subarray(0, at), Buffer.from('*'), regular.subarray(at)])
      assert.equal(layoutOfBase64(codecs, bent), null, `at ${at}`)
    }
    assert.equal(layoutOfBase64(codecs, Buffer.from('Zh==')), null, 'bits that decoding drops')
    assert.equal(layoutOfBase64(codecs, Buffer.from('Zg==Zg==')), null)
    assert.equal(layoutOfBase64(codecs, Buffer.concat([Buffer.alloc(1000, 0x20), regular])), null)
  })

  it('never claims a layout that would not give the text back', () => {
    fc.assert(
      fc.property(mailText, (text) => {
        const layout = layoutOfBase64(codecs, text)
        if (layout === null) return
        assert.ok(isBase64Layout(layout))
        assert.deepEqual(encodeBase64Layout(codecs, plainDecodeBase64(text), layout), text)
      }),
    )
  })

  it('refuses layouts that hide text or are out of bounds', () => {
    const base = { width: 76, separator: '\r\n', before: '', ending: '', padded: true }
    for (const bad of [
      { ...base, separator: 'x' },
      { ...base, separator: '\r\n'.repeat(9) },
      { ...base, before: 'secret' },
      { ...base, ending: ' '.repeat(300) },
      { ...base, width: -1 },
      { ...base, width: 1.5 },
      { ...base, width: 0 },
    ]) {
      assert.equal(isBase64Layout(bad), false, JSON.stringify(bad))
    }
  })
})

onEachPath('quoted-printable', ({ codecs }) => {
  it('decodes the rules of RFC 2045 §6.7', () => {
    const cases: [string, string][] = [
      ['', ''],
      ['Caf=C3=A9 =3D', 'Caf\xc3\xa9 ='],
      ['lower =c3=a9', 'lower \xc3\xa9'],
      ['soft =\r\nbreak', 'soft break'],
      ['soft=\nLF', 'softLF'],
      ['padded= \t \r\nbreak', 'paddedbreak'],
      ['kept \r\n', 'kept \r\n'],
      ['bad =XY =4 =', 'bad =XY =4 '],
      ['bad =\rx', 'bad =\rx'],
      ['end =\r', 'end '],
      ['==3D', '=='],
      ['=', ''],
      ['=3', '=3'],
      ['raw \xe9\0', 'raw \xe9\0'],
    ]
    for (const [text, expected] of cases) {
      const input = Buffer.from(text, 'latin1')
      assert.equal(decodeQpIn(codecs, [input]).toString('latin1'), expected, JSON.stringify(text))
      assert.equal(decodeQuotedPrintableText(codecs, input).toString('latin1'), expected)
      assert.equal(plainDecodeQuotedPrintable(input).toString('latin1'), expected, `twin ${JSON.stringify(text)}`)
    }
  })

  it('encodes as the C gateway does', () => {
    const cases: [string, string][] = [
      ['', ''],
      ['Caf\xc3\xa9 au lait = good\r\n', 'Caf=C3=A9 au lait =3D good\r\n'],
      ['dash-sig:\r\n-- \r\nAlice\r\n', 'dash-sig:\r\n-- =\r\n\r\nAlice\r\n'],
      ['ends blank ', 'ends blank=20'],
      ['tab\t\n', 'tab\t=\r\n\n'],
      ['a\rb', 'a=0Db'],
      ['a\r', 'a=0D'],
      ['x'.repeat(76), 'x'.repeat(76)],
      ['x'.repeat(77), `${'x'.repeat(75)}=\r\nxx`],
      [`${'x'.repeat(76)}\r\ny`, `${'x'.repeat(76)}\r\ny`],
      [`${'x'.repeat(74)}\xe9`, `${'x'.repeat(74)}=\r\n=E9`],
      [`${'x'.repeat(73)}\xe9`, `${'x'.repeat(73)}=E9`],
      [`${'x'.repeat(74)} \r\n`, `${'x'.repeat(74)} =\r\n\r\n`],
      [`${'x'.repeat(75)} \r\n`, `${'x'.repeat(75)}=\r\n =\r\n\r\n`],
    ]
    for (const [plain, expected] of cases) {
      const input = Buffer.from(plain, 'latin1')
      assert.equal(encodeQpIn(codecs, [input]), expected, JSON.stringify(plain))
      assert.equal(encodeQuotedPrintableText(codecs, input).toString('latin1'), expected)
      assert.equal(plainEncodeQuotedPrintable(input), expected, `twin ${JSON.stringify(plain)}`)
    }
  })

  it('does both as the twins do, any octets, in any pieces; lines stay within 76', () => {
    fc.assert(
      fc.property(fc.oneof(octets, mailText), sizes, (input, pieces) => {
        assert.deepEqual(decodeQpIn(codecs, cut(input, pieces)), plainDecodeQuotedPrintable(input))
        const text = encodeQpIn(codecs, cut(input, pieces))
        assert.equal(text, plainEncodeQuotedPrintable(input))
        for (const line of text.split(/\r\n|\n/)) assert.ok(line.length <= 76, line)
        assert.deepEqual(plainDecodeQuotedPrintable(Buffer.from(text, 'latin1')), input)
      }),
      { numRuns: 300 },
    )
  })
})
