import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { parseFetchItems, printItem } from '../../../src/engine/imap/fetch-items.ts'

const parse = (text: string) => parseFetchItems(new Cursor(Buffer.from(`${text}\r\n`, 'latin1')))
const roundTrip = (text: string): string => parse(text).map(printItem).join(' ')

describe('parseFetchItems', () => {
  it('gives back what it read, in upper case', () => {
    for (const text of [
      'UID',
      'FLAGS',
      'ENVELOPE',
      'BODY',
      'BODYSTRUCTURE',
      'RFC822',
      'RFC822.SIZE',
      'RFC822.HEADER',
      'RFC822.TEXT',
      'BODY[]',
      'BODY.PEEK[]',
      'BODY.PEEK[1.2.3.MIME]',
      'BODY[1.HEADER]',
      'BODY[TEXT]<0.100>',
      'BODY[]<10>',
      'BODY.PEEK[HEADER.FIELDS (SUBJECT)]',
      'BODY[2.HEADER.FIELDS.NOT (RECEIVED "a b")]<5.4>',
      'BINARY.PEEK[1]<0.3>',
      'BINARY.SIZE[1]',
      'PREVIEW',
      'PREVIEW (LAZY)',
    ]) {
      assert.equal(roundTrip(text), text)
      assert.equal(
        roundTrip(text.toLowerCase()),
        text.replace(/\(.*?\)/, (list) => (list === '(LAZY)' ? list : list.toLowerCase())),
      )
    }
  })
  it('reads lists and macros', () => {
    assert.equal(roundTrip('(UID RFC822.SIZE BODY.PEEK[])'), 'UID RFC822.SIZE BODY.PEEK[]')
    assert.equal(roundTrip('ALL'), 'FLAGS INTERNALDATE RFC822.SIZE ENVELOPE')
    assert.equal(roundTrip('fast'), 'FLAGS INTERNALDATE RFC822.SIZE')
    assert.equal(roundTrip('FULL'), 'FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY')
  })
  it('takes header names as literals and in quotes, and asks for them in quotes', () => {
    assert.equal(
      roundTrip('BODY.PEEK[HEADER.FIELDS ("Subject" {4}\r\nFrom)]'),
      'BODY.PEEK[HEADER.FIELDS ("Subject" "From")]',
    )
  })
  it('refuses what it does not know: it might be content', () => {
    for (const text of [
      'X-CONTENT',
      'BODY[MIME]',
      'BODY[1.]',
      'BODY[HEADER.FIELDS ()]',
      '()',
      'RFC822.PEEK',
      'BODY[1',
      'BINARY[TEXT]',
      'BODY[]<-1.2>',
      'BODY[1.FOO]',
    ]) {
      assert.throws(() => parse(text), { code: 'SYNTAX' }, text)
    }
  })
  it('ends in items or a GatewayError for anything', () => {
    const unit = fc.constantFrom(
      'BODY',
      '.PEEK',
      '[',
      ']',
      '1',
      '.',
      'HEADER',
      '.FIELDS',
      ' ',
      '(',
      ')',
      '<',
      '>',
      '"',
      '{1}\r\n',
      'UID',
    )
    fc.assert(
      fc.property(fc.string({ unit }), (text) => {
        try {
          const items = parse(text)
          assert.deepEqual(parse(`(${items.map(printItem).join(' ')})`), items)
        } catch (error) {
          assert.ok(error instanceof GatewayError, String(error))
        }
      }),
    )
  })
})
