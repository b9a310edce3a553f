/** Bodies of sizes at which something begins or ends: lines, chunks, blocks, pieces, what is examined, what is gathered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeQuotedPrintableText } from '../../../src/engine/mime/transfer/quoted-printable-text.ts'
import { fastPath } from '../../../src/engine/seal/native.ts'
import { open, piecesOf, seal } from './through.ts'

const MAXBUF = 1 << 20
const SMALL_EDGES = [0, 3, 45, 51, 57, 76, 78, 768, 1024, 1040, 2048, 57 * 18, 4096, 8192]
const LARGE_EDGES = [64 * 1024, 256 * 1024, 512 * 1024]
/** Octets on both sides of an edge. */
const around = (edge: number) => [-2, -1, 0, 1, 2].map((by) => edge + by).filter((octets) => octets >= 0)

const PLAIN = Buffer.from(Array.from({ length: MAXBUF * 2 }, (_, i) => (i * i + (i >> 7)) & 0xff))
const TEXT = Buffer.alloc(MAXBUF * 2, 'A line of text, grün = green, as people write it.\r\n')

function base64(octets: number, width: number, eol: string): string {
  const lines = PLAIN.toString('base64', 0, octets).match(new RegExp(`.{1,${width}}`, 'g')) ?? []
  return lines.map((line) => line + eol).join('')
}

/** Body texts, by transfer encoding, for a size: of the text itself, or of what it decodes to. */
const BODIES: Readonly<Record<string, (octets: number) => { readonly encoding: string; readonly text: Buffer }>> = {
  '8bit': (n) => ({ encoding: '8bit', text: TEXT.subarray(0, n) }),
  binary: (n) => ({ encoding: 'binary', text: PLAIN.subarray(0, n) }),
  'base64 of plain octets': (n) => ({ encoding: 'base64', text: Buffer.from(base64(n, 76, '\r\n')) }),
  'base64 in lines of 60, LF': (n) => ({ encoding: 'base64', text: Buffer.from(base64(n, 60, '\n')) }),
  'quoted-printable of plain octets': (n) => ({
    encoding: 'quoted-printable',
    text: encodeQuotedPrintableText(fastPath().codecs, TEXT.subarray(0, n)),
  }),
}

/** Texts cut anywhere: exact as long as they are examined whole. */
const CUT: typeof BODIES = {
  'base64 cut': (n) => ({ encoding: 'base64', text: Buffer.from(base64(n, 76, '\r\n')).subarray(0, n) }),
  'quoted-printable cut': (n) => ({
    encoding: 'quoted-printable',
    text: encodeQuotedPrintableText(fastPath().codecs, TEXT.subarray(0, n)).subarray(0, n),
  }),
}

function messagesOf({ encoding, text }: { readonly encoding: string; readonly text: Buffer }): Buffer[] {
  const head = `Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`
  const multipart = `Message-ID: <edge@example.com>\r\nContent-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n${head}`
  return [
    Buffer.concat([Buffer.from(`Message-ID: <edge@example.com>\r\n${head}`), text]),
    Buffer.concat([Buffer.from(multipart), text, Buffer.from('\r\n--edge--\r\n')]),
  ]
}

function check(message: Buffer, maxbufOctets: number, octetsAPiece: number, what: string): void {
  const how = { options: { settings: { maxbufOctets } } }
  const sealed = seal(message, how)
  assert.ok(seal(message, { ...how, chunks: piecesOf(octetsAPiece) }).equals(sealed), `${what}: sealed in pieces`)
  assert.ok(open(sealed).equals(message), `${what}: opened`)
  assert.ok(open(sealed, undefined, piecesOf(octetsAPiece)).equals(message), `${what}: opened in pieces`)
}

for (const [name, bodyOf] of Object.entries({ ...BODIES, ...CUT })) {
  test(`small edges, ${name}`, () => {
    for (const octets of SMALL_EDGES.flatMap(around)) {
      for (const message of messagesOf(bodyOf(octets))) check(message, MAXBUF, 7, `${octets} octets`)
    }
  })

  test(`large edges, ${name}`, () => {
    for (const octets of LARGE_EDGES.flatMap(around)) {
      for (const message of messagesOf(bodyOf(octets))) check(message, MAXBUF, 64 * 1024 - 1, `${octets} octets`)
    }
  })
}

for (const [name, bodyOf] of Object.entries(BODIES)) {
  test(`around the buffer limit, ${name}`, () => {
    // The limit set to each text's own length, and to its message's, and a little beside: gathered or not, examined or not.
    for (const octets of [1024, 5000, 57 * 100, 64 * 1024]) {
      const body = bodyOf(octets)
      for (const message of messagesOf(body)) {
        for (const limit of [body.text.length, message.length].flatMap(around)) {
          check(message, limit, 1000, `${octets} octets, limit ${limit}`)
        }
      }
    }
  })

  test(`around a mebibyte, ${name}`, () => {
    const perOctet = bodyOf(100_000).text.length / 100_000
    for (const octets of [MAXBUF, Math.floor(MAXBUF / perOctet)].flatMap((edge) => [edge - 1, edge, edge + 1])) {
      const [single] = messagesOf(bodyOf(octets))
      check(single!, MAXBUF, 65_536, `${octets} octets`)
    }
  })
}
