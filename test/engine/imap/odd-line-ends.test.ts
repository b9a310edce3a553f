/**
 * Messages whose lines end oddly (LF alone, CR CR LF, a CR at the end): what was sealed is not as long as what a server
 * serves of it, so no arithmetic tells their sizes. And what happens where a size was wrong all the same.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encodeSizes, sizesOf } from '../../../src/engine/imap/message-sizes.ts'
import { ServedScan } from '../../../src/engine/imap/view/served-scan.ts'
import { seal } from '../seal/through.ts'
import { oddMessages, served } from './odd-messages.ts'
import { plainAnswer, RealMail, sealedWithoutSizes } from './real-mail.ts'
import { KEY, SETTINGS, type StageOptions } from './stage.ts'

const MAXBUF = 16 * 1024
const ITEMS = '(RFC822.SIZE BODYSTRUCTURE)'
const ORDERS = [
  [ITEMS, 'BODY.PEEK[]', ITEMS],
  ['BODY.PEEK[]', ITEMS],
  ['BODY.PEEK[1]', 'BODY.PEEK[2]', 'BODY.PEEK[TEXT]', 'RFC822.SIZE'],
  ['(RFC822.SIZE BODY.PEEK[]<0.5000>)', 'BODY.PEEK[]<5000.100>', 'BODY.PEEK[2]<1000.70000>', 'RFC822.SIZE'],
]

describe('a message with odd line ends', () => {
  for (const [name, message] of oddMessages(500)) {
    it(`has one size, before it was read and after: ${name}`, () => {
      const plain = served(message)
      for (const maxbufOctets of [MAXBUF, 1024 * 1024]) {
        const ways = {
          gathered: seal(message, { options: { settings: { ...SETTINGS, maxbufOctets } }, answer: { key: KEY } }),
          passing: sealedWithoutSizes(message, MAXBUF),
        }
        for (const [way, sealed] of Object.entries(ways)) {
          for (const order of ORDERS) {
            const mail = new RealMail([sealed], { settings: { maxbufOctets, sizes: 'exact' } })
            for (const items of order) {
              assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(plain, items), `${maxbufOctets} ${way} ${items}`)
            }
          }
        }
      }
    })
  }

  it('is never cut, nor ends the session, where sizes are estimates', () => {
    for (const [name, message] of oddMessages(500)) {
      const sealed = sealedWithoutSizes(message, MAXBUF)
      const mail = new RealMail([sealed], { settings: { maxbufOctets: MAXBUF, sizes: 'estimate' } })
      const told = mail.ask(`FETCH 1 ${ITEMS}`)
      assert.equal(mail.ask('FETCH 1 BODY.PEEK[]'), plainAnswer(served(message), 'BODY.PEEK[]'), name)
      assert.equal(mail.ask('FETCH 1 BODY.PEEK[2]'), plainAnswer(served(message), 'BODY.PEEK[2]'), name)
      assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), told, name)
    }
  })
})

describe('an estimate of a leaf without an encoding', () => {
  it('is its length before sealing: right for all but odd line ends', () => {
    const line = `${'x'.repeat(70)}\r\n`
    const message = Buffer.from(`Subject: x\r\nContent-Type: application/x\r\n\r\n${line.repeat(20_000)}`)
    const mail = new RealMail([sealedWithoutSizes(message)], { settings: { sizes: 'estimate' } })
    assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), plainAnswer(message, ITEMS))
    assert.ok(mail.server.sentOctets < 20_000)
  })
})

describe('a size that proves wrong', () => {
  const text = Array.from({ length: 6000 }, (_, i) => `line ${i}\r\n`).join('')
  const message = Buffer.from(`Subject: x\r\n\r\n${text}`)
  const sealed = sealedWithoutSizes(message)
  const scan = new ServedScan()
  scan.push(message)
  const truth = sizesOf(scan.end()!, sealed.length)

  for (const more of [-1, 1]) {
    it(`ends the session, and is not believed by the next: ${more > 0 ? 'too large' : 'too small'}`, () => {
      const [leaf] = truth.parts
      const lie = { ...truth, octets: truth.octets + more, parts: [{ ...leaf!, octets: leaf!.octets + more }] }
      for (const [first, command] of [
        ['', 'FETCH 1 BODY.PEEK[]'],
        ['', 'FETCH 1 BODY.PEEK[1]'],
        [`FETCH 1 BODY.PEEK[]<0.5000>`, 'FETCH 1 BODY.PEEK[]<5000.90000>'],
      ] as const) {
        const sizes = new Map([['INBOX 9 7', encodeSizes(lie)!.toString('latin1')]])
        const options: StageOptions = { sizes, settings: { maxbufOctets: 4096, sizes: 'exact' } }
        const broken = new RealMail([sealed], options)
        if (first !== '') broken.ask(first)
        const got = broken.ask(command)
        assert.ok(!/^c OK/m.test(got), 'no word that all is well')
        assert.notEqual(broken.stage.ended, null, command)
        const next = new RealMail([sealed], options)
        assert.equal(next.ask(command), plainAnswer(message, command.slice(8)))
        assert.equal(next.ask(`FETCH 1 ${ITEMS}`), plainAnswer(message, ITEMS))
        assert.equal(sizes.get('INBOX 9 7'), encodeSizes(truth)!.toString('latin1'))
      }
    })
  }
})
