/**
 * Messages with bodies beyond the buffer limit, in every transfer encoding, by many encoders, some of which change their
 * mind: for the property test of long messages and the fuzzer. The same for the same dice.
 */
import type { Dice } from './generate.ts'

export interface LongMessage {
  readonly message: Buffer
  readonly maxbufOctets: number
}

/**
 * Sizes about the limits: of the buffer, of a block (64 KiB), of a batch (1 MiB).
 * @param maxOctets of a leaf, before it is encoded
 */
export function generateLong(dice: Dice, maxOctets = Number.POSITIVE_INFINITY): LongMessage {
  const maxbufOctets = dice.pick([1, 100, 500, 1000, 4000])
  const near = (octets: number) => Math.max(0, octets + dice.below(9) - 4)
  const anySize = () => {
    const kind = dice.below(40)
    if (kind === 0) return near(dice.pick([1 << 20, (1 << 20) + (1 << 16)]))
    if (kind < 6) return near((1 + dice.below(3)) << 16)
    return kind < 12 ? near(maxbufOctets) : dice.below(6000)
  }
  const sizeOf = () => Math.min(maxOctets, anySize())
  return { message: Buffer.from(entity(dice, 0, sizeOf), 'latin1'), maxbufOctets }
}

function entity(dice: Dice, depth: number, sizeOf: () => number): string {
  const eol = dice.oneIn(4) ? '\n' : '\r\n'
  const subject = dice.oneIn(2) ? `Subject: ${depth}${eol}` : ''
  const kind = depth > 3 ? 9 : dice.below(10)
  if (kind < 3) {
    const boundary = `b${depth}${dice.below(10)}`
    const parts = Array.from({ length: 1 + dice.below(3) }, () => {
      return `--${boundary}${eol}${entity(dice, depth + 1, sizeOf)}${dice.oneIn(10) ? '' : eol}`
    })
    const type = dice.pick(['mixed', 'alternative', 'related', 'signed'])
    const head = `${subject}Content-Type: multipart/${type}; boundary="${boundary}"${eol}${eol}`
    return `${head}${dice.oneIn(3) ? `preamble${eol}` : ''}${parts.join('')}${dice.oneIn(4) ? '' : `--${boundary}--${eol}`}`
  }
  if (kind === 3) return `${subject}Content-Type: message/rfc822${eol}${eol}${entity(dice, depth + 1, sizeOf)}`
  const encoding = dice.pick([
    'quoted-printable',
    'quoted-printable',
    'quoted-printable',
    'base64',
    'base64',
    'base64',
    '7bit',
    '8bit',
    'binary',
    'x-unknown',
    '',
  ])
  const field = encoding === '' ? '' : `Content-Transfer-Encoding: ${encoding}${eol}`
  const type = dice.oneIn(5) ? `Content-Type: multipart/mixed${eol}` : ''
  return `${subject}${type}${field}${eol}${body(dice, encoding, sizeOf())}`
}

function body(dice: Dice, encoding: string, octets: number): string {
  const plain = plainText(dice, octets)
  let text = plain
  if (encoding === 'quoted-printable') {
    // A second encoder may go on where the first one ended.
    const cut = dice.oneIn(3) ? dice.below(plain.length + 1) : plain.length
    text = quoted(plain.slice(0, cut), quotedStyle(dice), dice) + quoted(plain.slice(cut), quotedStyle(dice), dice)
  } else if (encoding === 'base64') {
    const cut = dice.oneIn(4) ? dice.below(plain.length + 1) : plain.length
    text = base64(plain.slice(0, cut), dice) + base64(plain.slice(cut), dice)
  }
  for (let changes = dice.oneIn(2) ? 0 : dice.below(4); changes > 0; changes--) {
    // At the end, or where a block ends, more is to be found.
    const at = Math.min(text.length, dice.pick([dice.below(text.length + 1), text.length, (1 << 16) - 1, 1 << 16]))
    const gone = dice.oneIn(2) ? 0 : dice.below(4)
    text = text.slice(0, at) + dice.pick(ODDITIES).repeat(1 + dice.below(3)) + text.slice(at + gone)
  }
  return text
}

const ODDITIES = [
  '=',
  '==',
  '=\r\n',
  '=\n',
  '= \t\r\n',
  '=3d',
  '=3D',
  '=zz',
  ' ',
  '\t',
  '\r\n',
  '\n',
  '\r',
  '\0',
  '!',
  'A',
  'AB',
  '-- \r\n',
  '',
  '=\r\n'.repeat(2000),
  ' '.repeat(5000),
  `=${' '.repeat(80)}\r\n`,
]

function plainText(dice: Dice, octets: number): string {
  const unit = dice.pick([
    'Lines, as people write them, not longer than needed.\r\n',
    'caf\xc3\xa9, na\xc3\xafve = no.\n',
    `${'A paragraph without line ends, as HTML has them; \xc3\xbc = \xc3\xa4. '.repeat(9)}\r\n`,
    'x'.repeat(700),
    ' \t \r\n',
    '\r\n',
    `${'0123456789'.repeat(7)}12345\r\n${'0123456789'.repeat(7)}123456\r\n${'0123456789'.repeat(7)}1234567\r\n`,
    '.\r\nFrom x\r\n',
    Buffer.from(Array.from({ length: 300 }, () => dice.below(256))).toString('latin1'),
  ])
  return unit.repeat(Math.ceil(octets / unit.length)).slice(0, octets)
}

interface QuotedStyle {
  readonly width: number
  readonly soft: string
  readonly lower: boolean
  readonly escaped: RegExp
  readonly blanksEscaped: boolean
  /** One octet in so many is escaped without need; 0 = none. */
  readonly noise: number
}

function quotedStyle(dice: Dice): QuotedStyle {
  return {
    width: dice.pick([76, 76, 76, 75, 74, 72, 1000]),
    soft: dice.pick(['=\r\n', '=\r\n', '=\n', '= \r\n']),
    lower: dice.oneIn(4),
    escaped: dice.pick([
      /[^\x20-\x3c\x3e-\x7e\t\r\n]/,
      /[^\x20-\x3c\x3e-\x7e\r\n]/,
      /[^\x20-\x2d\x2f-\x3c\x3e-\x7e\r\n]/,
      /[^\x20-\x3c\x3e-\x7e]/,
    ]),
    blanksEscaped: dice.oneIn(2),
    noise: dice.oneIn(6) ? 1 + dice.below(20) : 0,
  }
}

function quoted(plain: string, style: QuotedStyle, dice: Dice): string {
  const out: string[] = []
  let column = 0
  for (let at = 0; at < plain.length; at++) {
    const octet = plain[at]!
    const atEnd = /^(\r?\n|$)/.test(plain.slice(at + 1, at + 3))
    const isNoise = style.noise > 0 && dice.oneIn(style.noise) && octet !== '\r' && octet !== '\n'
    const isBlankAtEnd = (octet === ' ' || octet === '\t') && atEnd && style.blanksEscaped
    const hex = octet.charCodeAt(0).toString(16).padStart(2, '0')
    const isEscaped = isNoise || isBlankAtEnd || style.escaped.test(octet)
    const unit = isEscaped ? `=${style.lower ? hex : hex.toUpperCase()}` : octet
    if (octet !== '\r' && octet !== '\n' && column + unit.length > style.width - 1) {
      out.push(style.soft)
      column = 0
    }
    out.push(unit)
    column = unit === '\n' ? 0 : column + unit.length
  }
  return out.join('')
}

function base64(plain: string, dice: Dice): string {
  if (plain === '') return ''
  const width = dice.pick([76, 76, 76, 72, 64, 60, 4, 3, 1, 1000, 1e9])
  const separator = dice.pick(['\r\n', '\r\n', '\n', ' \r\n', '\r\n\t', '\r'])
  const text = Buffer.from(plain, 'latin1').toString('base64')
  const rows: string[] = []
  for (let at = 0; at < text.length; at += width) rows.push(text.slice(at, at + width))
  const laid = dice.oneIn(5) ? rows.join(separator).replace(/=+$/, '') : rows.join(separator)
  const before = dice.oneIn(8) ? dice.pick(['\r\n', ' ', '\t\n']) : ''
  return `${before}${laid}${dice.pick(['', separator, separator, separator.repeat(2), ' ', ' \r\n', '\r\n-- \r\nfooter', '===='])}`
}
