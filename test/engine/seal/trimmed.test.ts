/** Sealed mail whose lines a server trimmed, or filled up with blank lines: it is read as before, and nothing false is told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Opener } from '../../../src/engine/seal/opener.ts'
import { plainOpen } from './plain-reader.ts'
import { KEY, seal, through, whole } from './through.ts'

const trimmed = (text: Buffer) => Buffer.from(text.toString('latin1').replace(/[ \t]+(?=\r?\n)/g, ''), 'latin1')
const words = (text: Buffer) => text.toString('latin1').replace(/\s+/g, '')

function opened(sealed: Buffer) {
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  const bytes = through(opener, whole(sealed), { key: KEY })
  const { missingParts, endMissing, unsealedParts, altered, encrypted } = opener.facts
  return { bytes, told: { missingParts, endMissing, unsealedParts, altered, encrypted } }
}
const NOTHING = { missingParts: 0, endMissing: false, unsealedParts: 0, altered: false, encrypted: true }

// A line of white space continues a field, until somebody trims it: then the header ends there.
const BLANK_LINES: Readonly<Record<string, string>> = {
  'in an address list': 'From: a@b\r\nTo: c@d,\r\n \r\n e@f\r\nMessage-ID: <a@b>\r\nSubject: s\r\n\r\ntext\r\n',
  'behind a field, several': 'From: a@b\n \n\t\n \t\nMessage-ID: <a@b>\nSubject: s\n\ntext\n',
  'in references': 'From: a@b\r\nReferences: <x@y>\r\n \r\n <z@y>\r\nMessage-ID: <a@b>\r\n\r\ntext\r\n',
  'in types': `Message-ID: <a@b>\r\nContent-Type: multipart/mixed;\r\n \r\n boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed;\r\n\t\r\n boundary=c\r\n \r\nX-Y: z\r\n\r\n--c\r\n\r\none\r\n--c--\r\n--b--\r\n`,
  'in the type of a message':
    'Message-ID: <a@b>\r\nContent-Type: message/rfc822\r\n \r\n\r\nSubject: inner\r\n\r\ntext\r\n',
  'in a disposition':
    'Message-ID: <a@b>\r\nContent-Disposition: attachment\r\n \r\n ; filename=x\r\nContent-Type: text/plain\r\n\r\ntext\r\n',
}
for (const [name, text] of Object.entries(BLANK_LINES)) {
  test(`a line of white space ${name} does not stand in plain`, () => {
    const message = Buffer.from(text)
    for (const maxbufOctets of [1 << 20, 20]) {
      const sealed = seal(message, { options: { settings: { maxbufOctets } } })
      assert.deepEqual(opened(sealed), { bytes: message, told: NOTHING })
      // Behind the header there are none but in the white space that says something (docs/exactness.md).
      const header = sealed.toString('latin1').split(/\r?\n\r?\n/)[0]!
      assert.doesNotMatch(header, /\n[ \t]+(\r?\n|$)/)
      plainOpen(sealed, KEY.keyString)
      const served = opened(trimmed(sealed))
      assert.equal(words(served.bytes), words(message))
      if (maxbufOctets > 20) assert.deepEqual(served.told, NOTHING)
    }
  })
}
