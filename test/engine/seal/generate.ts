/**
 * Messages made to be difficult, and messages made worse: the same for the same seed. For the fuzzer and its short run
 * among the tests.
 */

export interface Dice {
  /** 0 ≤ n < limit */
  below(limit: number): number
  pick<T>(from: readonly T[]): T
  /** True once in `n`. */
  oneIn(n: number): boolean
}

/** xorshift32 of the seed; good enough for dice. */
export function diceOf(seed: number): Dice {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ 0x2545f491) | 1
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
  const below = (limit: number) => next() % limit
  return { below, pick: (from) => from[below(from.length)]!, oneIn: (n) => below(n) === 0 }
}

const BOUNDARIES = [
  'b',
  'bb',
  'a',
  '-',
  '--',
  'x y',
  "'q'",
  '=_1',
  'b--',
  '--VESmail-injected-',
  '--VESmail-injected-0',
  'B',
]
const EOLS = ['\r\n', '\r\n', '\r\n', '\n', '\n', '\r', '\r\r\n', '']
const NAMES = [
  'Subject',
  'From',
  'To',
  'Cc',
  'Bcc',
  'Date',
  'Message-ID',
  'Message-Id',
  'MESSAGE-ID',
  'References',
  'In-Reply-To',
  'Received',
  'X-Y',
  'X-VESmail-ID',
  'X-VESmail-Header',
  'X-VESmail-Exact',
  'X-VESmail-Part',
  'X-VESmail-Xchg',
  'Content-Disposition',
  'Content-ID',
  'From me',
  'Subject ',
  '\tX',
  ':',
  'é',
  'MIME-Version',
  'Content-Type',
] // prettier-ignore
const VALUES = [
  ' a',
  '',
  ' <id@x>',
  ' <id@x.m.ves.world>',
  '<id@x>',
  ' <>',
  ' <a b>',
  ' no id',
  ' <r1@x> <r2@x>',
  ' <r1@x> <r1@x.m.ves.world>',
  ' <r@x>\r\n\t<r@x.m.ves.world> <s@x>',
  ' attachment; filename=x',
  ' inline',
  ' a\r\n b',
  ' a\n\tb',
  ' a\r\n \r\n',
  '\0',
  ' =?utf-8?q?x?=',
  ' \x80\xff',
  ' banner',
  ' injected',
  ' body',
  ' alternative',
  ' 1 00000000; a; k=',
] // prettier-ignore
const TYPES = [
  'text/plain',
  'text/html; charset=utf-8',
  'application/octet-stream',
  'application/vnd.ves.encrypted',
  'message/rfc822',
  'message/rfc822 (comment)',
  'multipart/signed; boundary=b',
  'multipart/mixed',
  'multipart/mixed; boundary=',
  'multipart/mixed; boundary=b; boundary=c',
  'multipart/mixed; boundary*=b',
  'multipart/mixed; boundary="b\\"c"',
] // prettier-ignore
const ENCODINGS = ['7bit', '8bit', 'binary', 'base64', 'BASE64', 'quoted-printable', 'x-uuencode', 'base64 (x)', '']
const WORDS = [
  'hello',
  ' ',
  '=',
  '=20',
  '=3D',
  '=e9',
  '=\r\n',
  '=\n',
  '= \r\n',
  '\r\n',
  '\n',
  '\r',
  '\0',
  '\xe9',
  '--b',
  '--b--',
  '\r\n--b',
  '\r\n--b--\r\n',
  '\n--a',
  '--',
  '-',
  'From ',
  '.',
  'QUJD',
  'QUI=',
  'QQ==',
  '====',
  'QUJDREVGR0hJ',
  ' \r\n',
  '\t',
  '\r\n\r\n',
] // prettier-ignore

/** One message, one character an octet. */
export function generateMessage(dice: Dice): Buffer {
  return Buffer.from(entity(dice, 0, true), 'latin1')
}

function eol(dice: Dice): string {
  return dice.oneIn(12) ? dice.pick(EOLS) : dice.oneIn(6) ? '\n' : '\r\n'
}

function entity(dice: Dice, depth: number, root: boolean): string {
  const end = eol(dice)
  let head = ''
  const fields = dice.below(root ? 8 : 3)
  for (let i = 0; i < fields; i++) head += `${dice.pick(NAMES)}:${dice.pick(VALUES)}${dice.oneIn(8) ? eol(dice) : end}`
  let body = ''
  const kind = depth > 4 ? 9 : dice.below(10)
  const type = (value: string) => `${dice.pick(['Content-Type', 'content-type', 'Content-Type '])}: ${value}${end}`
  if (kind < 4) {
    const boundary = dice.oneIn(3) ? dice.pick(BOUNDARIES) : `b${depth}${dice.below(100)}`
    const subtype = dice.pick(['mixed', 'alternative', 'related', 'digest'])
    const quoted = dice.oneIn(2) || /[^\w]/.test(boundary) ? `"${boundary}"` : boundary
    head += type(`multipart/${subtype};${dice.oneIn(3) ? `${end}\t` : ' '}boundary=${quoted}`)
    body = multipart(dice, depth, boundary, end)
  } else if (kind === 4) {
    head += type('message/rfc822')
    body = entity(dice, depth + 1, false)
  } else {
    if (!dice.oneIn(4)) head += type(dice.pick(TYPES))
    body = leaf(dice, end)
  }
  if (dice.oneIn(kind < 5 ? 6 : 2)) {
    const field = `Content-Transfer-Encoding: ${dice.pick(ENCODINGS)}${end}`
    head = dice.oneIn(2) ? head + field : field + head
  }
  const blank = dice.oneIn(10) ? dice.pick(['', ' \r\n', '\t\n', '\r\n\r\n', '\n', ' ']) : end
  return head + blank + body
}

function multipart(dice: Dice, depth: number, boundary: string, end: string): string {
  let body = dice.oneIn(2) ? leaf(dice, end) : ''
  const parts = dice.below(4)
  for (let i = 0; i < parts; i++) {
    const before = dice.oneIn(8) ? '' : end
    const after = dice.oneIn(10) ? dice.pick([' ', 'x', '\t\r', '']) : ''
    body += `${before}--${boundary}${after}${end}${dice.oneIn(12) ? '' : entity(dice, depth + 1, false)}`
  }
  if (!dice.oneIn(4)) body += `${dice.oneIn(8) ? '' : end}--${boundary}--${dice.oneIn(4) ? '' : end}`
  return dice.oneIn(4) ? body + leaf(dice, end) : body
}

function leaf(dice: Dice, end: string): string {
  switch (dice.below(6)) {
    case 0:
      return ''
    case 1: {
      const octets = Buffer.alloc(dice.below(300), dice.pick(['abc', '\0', 'é', ' ']))
      const width = dice.pick([4, 60, 64, 72, 76, 76, 76, 77, 1000])
      const text = octets.toString('base64').replace(new RegExp(`.{${width}}`, 'g'), `$&${end}`)
      return text + dice.pick(['', end, end + end, '=', 'A', ' '])
    }
    case 2:
      return dice.pick(WORDS).repeat(dice.below(200))
    case 3:
      return Buffer.from(Array.from({ length: dice.below(2500) }, () => dice.below(256))).toString('latin1')
    default: {
      let text = ''
      for (let words = dice.below(40); words > 0; words--) text += dice.pick(WORDS)
      return text
    }
  }
}

const SPLICES = [
  ...WORDS,
  ...BOUNDARIES,
  ...VALUES,
  ...TYPES,
  ...ENCODINGS,
  'Content-Type: ',
  'X-VESmail-Part: banner\r\n',
]

/** One to five changes to it: octets, cuts, repeats, exchanges, pieces that mean something. */
export function mutate(message: Buffer, dice: Dice): Buffer {
  let out = message
  for (let changes = 1 + dice.below(5); changes > 0; changes--) {
    const at = dice.below(out.length + 1)
    const to = Math.min(out.length, at + dice.below(dice.oneIn(3) ? out.length + 1 : 40))
    const [before, piece, after] = [out.subarray(0, at), out.subarray(at, to), out.subarray(to)]
    switch (dice.below(6)) {
      case 0:
        out = Buffer.concat([before, Buffer.of(dice.below(256)), after])
        break
      case 1:
        out = Buffer.concat([before, after])
        break
      case 2:
        out = Buffer.concat([before, piece, piece, after])
        break
      case 3:
        out = Buffer.concat([before, Buffer.from(dice.pick(SPLICES), 'latin1'), piece, after])
        break
      case 4:
        out = Buffer.from(out)
        if (out.length > 0) out[at % out.length]! ^= 1 << dice.below(8)
        break
      default:
        out = Buffer.concat([after, before])
    }
  }
  return out.subarray(0, MAX_MUTANT_OCTETS)
}

/** Repeats must not make the next case a megabyte. */
const MAX_MUTANT_OCTETS = 64 * 1024
