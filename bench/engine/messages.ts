/** The messages of the engine's bench (issue: 8-bit text, base64 attachment, quoted-printable, small ones). */
import { randomFillSync } from 'node:crypto'
import { jsCodecs } from '../../src/engine/mime/transfer/js-codecs.ts'
import { encodeQuotedPrintableText } from '../../src/engine/mime/transfer/quoted-printable-text.ts'

const MiB = 1 << 20

const HEAD = [
  'Return-Path: <alice@example.com>',
  'Received: from client.example.com (client.example.com [192.0.2.7])',
  '\tby mail.example.com with ESMTPSA id 7F3A2; Mon, 23 Nov 2026 16:00:00 +0000',
  'From: Alice <alice@example.com>',
  'To: Bob <bob@example.com>, Carol <carol@example.net>',
  'Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= from the bench',
  'Message-ID: <0f2c4b1e-77aa-4e58-9d0f-bench@example.com>',
  'In-Reply-To: <a1b2c3@example.net>',
  'References: <x1@example.net> <a1b2c3@example.net>',
  'Date: Mon, 23 Nov 2026 16:00:00 +0000',
  'User-Agent: a mail program 12.3',
  'MIME-Version: 1.0',
]
const TEXT = 'Eight-bit text, as people write it: grün, naïve, Ωmega; a line of some seventy octets.\r\n'
/** A paragraph without line ends, as HTML has them: soft breaks come of it. */
const PARAGRAPH = 'Quoted text, as mail programs write it: grün, naïve, Ωmega, a=b; on and on. '.repeat(5)
const QUOTED = encodeQuotedPrintableText(jsCodecs, Buffer.from(`${PARAGRAPH}.\r\n`))

const head = (...more: string[]) => Buffer.from(`${[...HEAD, ...more].join('\r\n')}\r\n\r\n`)

/** A body of this many octets. */
function filled(octets: number, line: string | Buffer): Buffer {
  return Buffer.alloc(octets, line)
}

/** Base64 in lines of 76, about this many octets. */
function attachment(octets: number): Buffer {
  const lines = Math.floor(octets / 78)
  const block = randomFillSync(Buffer.allocUnsafe(57 * 1000))
    .toString('base64')
    .replace(/.{76}/g, '$&\r\n')
  const out = Buffer.allocUnsafe(lines * 78)
  // Different blocks would take long to make and change nothing: ciphers do not look at what they are given.
  return out.fill(block, 0, out.length, 'latin1')
}

interface BenchMessage {
  readonly message: Buffer
  /** What of it goes through ciphers and codings; for the floor. */
  readonly body: Buffer
}

const simple = (encoding: string, body: Buffer): BenchMessage => ({
  message: Buffer.concat([
    head('Content-Type: text/plain; charset=utf-8', `Content-Transfer-Encoding: ${encoding}`),
    body,
  ]),
  body,
})

export const MESSAGES = {
  text: () => simple('8bit', filled(32 * MiB, TEXT)),
  attachment: () => {
    const body = attachment(64 * MiB)
    const message = Buffer.concat([
      head('Content-Type: multipart/mixed; boundary="=_bench_1"'),
      Buffer.from('--=_bench_1\r\nContent-Type: text/plain\r\n\r\nSee attached.\r\n--=_bench_1\r\n'),
      Buffer.from('Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n'),
      body,
      Buffer.from('\r\n--=_bench_1--\r\n'),
    ])
    return { message, body }
  },
  qp: () => simple('quoted-printable', filled(16 * MiB - ((16 * MiB) % QUOTED.length), QUOTED)),
  small: () => simple('8bit', filled(2300, TEXT)),
} as const

export type MessageName = keyof typeof MESSAGES
