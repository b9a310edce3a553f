/** A long leaf with patches in its white space, opened without the rest of its message, and with what is altered in them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { LeafOpener } from '../../../src/engine/seal/leaf-opener.ts'
import { Opener, type OutlinedLeaf } from '../../../src/engine/seal/opener.ts'
import { KEY, open, piecesOf, seal, through, whole } from './through.ts'

const PATTERN = 'caf=c3=a9 in lines that are =\nbroken by LF, and blanks=20\r\n'
const TEXT = PATTERN.repeat(4000)
const MESSAGE = Buffer.from(`Content-Transfer-Encoding: quoted-printable\r\n\r\n${TEXT}`)
const SEALED = seal(MESSAGE, { options: { settings: { maxbufOctets: 5000, banners: [] } } }).toString('latin1')
const BODY = /base64\r\n\r\n([A-Za-z0-9+/=\s]+?)\r\n--/.exec(SEALED)![1]!

test('the leaf alone, in pieces', () => {
  const leaves: OutlinedLeaf[] = []
  const outline = (leaf: OutlinedLeaf) => leaves.push(leaf)
  through(new Opener({ maxbufOctets: 1 << 20, outline }), whole(Buffer.from(SEALED, 'latin1')), { key: KEY })
  for (const octets of [1, 7, 1000, BODY.length]) {
    const text = through(new LeafOpener(leaves[0]!.sealed!), piecesOf(octets)(Buffer.from(BODY, 'latin1')), null)
    assert.equal(text.toString('latin1'), TEXT)
  }
})

test('white space altered, trimmed or taken out: the text decodes to the same, and is known to be laid out anew', () => {
  const plain = TEXT.replace(/=\r?\n/g, '')
    .replaceAll('=c3=a9', '\xc3\xa9')
    .replaceAll('=20', ' ')
  const decoded = (opened: string) =>
    opened
      .slice(opened.indexOf('\r\n\r\n') + 4)
      .replace(/=\r?\n/g, '')
      .replace(/=([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  const lines = BODY.split('\r\n')
  const blanks = lines.flatMap((line, i) => (/^[ \t]+$/.test(line) ? [i] : []))
  assert.ok(blanks.length > 20)
  for (let n = 0; n < blanks.length; n += 5) {
    const at = blanks[n]!
    for (const line of [
      lines[at]!.slice(1),
      '',
      `${lines[at]} `,
      lines[at]!.replace(/^./, (c) => (c === ' ' ? '\t' : ' ')),
    ]) {
      const altered = SEALED.replace(BODY, () => lines.with(at, line).join('\r\n'))
      const opener = new Opener({ maxbufOctets: 1 << 20 })
      const opened = through(opener, whole(Buffer.from(altered, 'latin1')), { key: KEY })
      assert.equal(opener.facts.layoutLost, 1)
      assert.equal(decoded(opened.toString('latin1')), plain)
    }
  }
  // All of it gone: no trace is left of there having been any.
  const trimmed = open(
    Buffer.from(SEALED.replace(BODY, () => lines.filter((line) => !/^[ \t]/.test(line)).join('\r\n'))),
  )
  assert.equal(decoded(trimmed.toString('latin1')), plain)
})

test('where a text would be wrong without the patches that follow, their loss is an error', () => {
  // Soft breaks beyond what is waited for: the octet behind them is given out early.
  const text = `x=41${'=\r\n'.repeat(60_000)}=42=43`
  const message = Buffer.from(`Content-Transfer-Encoding: quoted-printable\r\n\r\n${text}`)
  const sealed = seal(message, { options: { settings: { maxbufOctets: 5000, banners: [] } } }).toString('latin1')
  assert.ok(open(Buffer.from(sealed, 'latin1')).equals(message))
  let refused = 0
  const lines = sealed.split('\r\n')
  for (const [at, line] of lines.entries()) {
    if (!/^[ \t]{20,}$/.test(line)) continue
    try {
      const opened = open(Buffer.from(lines.toSpliced(at, 1).join('\r\n'), 'latin1'))
      assert.match(opened.toString('latin1').replace(/=\r?\n/g, ''), /\r\nx(=41|A)(=42|B)(=43|C)/)
    } catch (error) {
      assert.ok(error instanceof GatewayError && error.code === 'SEAL_BROKEN')
      refused++
    }
  }
  assert.ok(refused > 0)
})
