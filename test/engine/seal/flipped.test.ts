/**
 * One octet of a sealed message altered, anywhere: what comes out of a sealed leaf is its text, in its layout or (told) in
 * the canonical one, whole chunks of it in front of an error, or nothing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import { diceOf } from './generate.ts'
import { KEY, piecesOf, seal, through } from './through.ts'

const line = (leaf: number, i: number) => `<leaf ${leaf}, line ${i}: ${'octets '.repeat(1 + (i % 9))}>`
const text = (leaf: number, lines: number, eol: string) =>
  Array.from({ length: lines }, (_, i) => line(leaf, i) + eol).join('')
const base64 = (octets: string, width: number) =>
  Buffer.from(octets)
    .toString('base64')
    .replace(new RegExp(`.{${width}}`, 'g'), '$&\r\n')
/** Not as we would write it. */
const quotedPrintable = (octets: string) => octets.replaceAll('o', '=6F').replaceAll('\n', ' =20\n')

/** Encoding and body; the second of each in a layout that takes a patch. */
const LEAVES: readonly (readonly [string, string])[] = [
  ['8bit', text(0, 60, '\r\n')],
  ['base64', base64(text(1, 60, '\n'), 76)],
  ['base64', `${base64(text(2, 60, '\n'), 71)} \t\r\n`],
  ['quoted-printable', text(3, 40, '\r\n')],
  ['quoted-printable', quotedPrintable(text(4, 40, '\n'))],
]
const HEAD = 'Message-ID: <f@b.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n'
const MESSAGE = `${HEAD}${LEAVES.map(
  ([encoding, body]) => `--b\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}\r\n`,
).join('')}--b--\r\n`
const LINES = new Set([0, 1, 2, 3, 4].flatMap((leaf) => Array.from({ length: 60 }, (_, i) => line(leaf, i))))

function opened(sealed: Buffer) {
  const opener = new Opener({ maxbufOctets: 1000 })
  const out: Buffer[] = []
  let failed = false
  try {
    through(opener, piecesOf(1000)(sealed), { key: KEY }, out)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    failed = true
  }
  return { text: Buffer.concat(out).toString('latin1'), failed, facts: opener.facts }
}

/** All that is to be read in the message, whatever it is encoded in. */
function readable(message: string): string {
  const parts = message.split('\n--b')
  const bodies = parts.map((part) => part.slice(part.search(/\n\r?\n/) + 1))
  const fromBase64 = bodies.map((body) => Buffer.from(body, 'base64').toString('latin1'))
  // Without an escape quoted-printable is itself.
  const decoded = bodies.map((body) =>
    body
      .replace(/=[ \t]*\r?\n/g, '')
      .replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  )
  return [...decoded, ...fromBase64].join('\n')
}

test('one altered octet', () => {
  const dice = diceOf(7)
  const outcomes = { failed: 0, layoutLost: 0, same: 0 }
  for (const maxbufOctets of [50, 2000, 1 << 20]) {
    const sealed = seal(Buffer.from(MESSAGE, 'latin1'), { options: { settings: { banners: [], maxbufOctets } } })
    for (let at = dice.below(17); at < sealed.length; at += 1 + dice.below(33)) {
      const altered = Buffer.from(sealed)
      altered[at]! ^= 1 << dice.below(8)
      const { text, failed, facts } = opened(altered)
      const what = `octet ${at} of ${sealed.length}, maxbuf ${maxbufOctets}`
      for (const [found] of readable(text).matchAll(/<leaf[^>]*>/g)) assert.ok(LINES.has(found), `${what}: ${found}`)
      if (failed) outcomes.failed++
      else if (facts.layoutLost > 0) outcomes.layoutLost++
      else if (text === MESSAGE) outcomes.same++
      // What is not the message is not complete, known to be changed, or was not opened at all.
      else if (facts.missingParts === 0 && facts.unsealedParts === 0 && !facts.altered) {
        const isSealed = text.includes('application/vnd.ves.encrypted')
        assert.ok(isSealed || LEAVES.every(([, body]) => text.includes(body)), what)
      }
    }
  }
  assert.ok(outcomes.failed > 1000 && outcomes.layoutLost > 10 && outcomes.same > 10, JSON.stringify(outcomes))
})
