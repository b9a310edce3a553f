/** What a sealed message says of its sizes, against what a reader counts (message-format.md §6, Sizes). */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { runBatch } from '../../../src/engine/seal/batch.ts'
import type { ListedPart, SealedSizes } from '../../../src/engine/seal/exactness.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import type { SealerOptions } from '../../../src/engine/seal/sealer.ts'
import type { TransformAsk } from '../../../src/engine/transform.ts'
import { type Part, readPart } from './plain-reader.ts'
import { KEY, piecesOf, seal, sealAnswer, sealerFor, through, whole } from './through.ts'
import { VECTOR_MESSAGES } from './vectors.ts'

interface Known {
  readonly sealed: Buffer
  /** What the sealer counted. */
  readonly counted: SealedSizes
  /** What the message says. */
  readonly declared: SealedSizes | null
  /** What was counted on opening. */
  readonly read: SealedSizes
  readonly opened: Buffer
}

function known(message: Buffer, options: Partial<SealerOptions> = {}): Known {
  const sealer = sealerFor({ options })
  const sealed = through(sealer, whole(message), sealAnswer())
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  const opened = through(opener, whole(sealed), { key: KEY })
  const { declaredSizes, sizes } = opener.facts
  return { sealed, counted: sealer.facts.sizes, declared: declaredSizes, read: sizes, opened }
}

const lines = (text: string) => text.split('\n').length - 1

/** Where the injected container stands, its one part. */
function throughContainer(part: Part): Part {
  return part.headers.includes('X-VESmail-Part: injected') ? part.children[0]!.part : part
}

/** By an independent reader of both. */
function count(opened: Part, sealedPart: Part): Omit<ListedPart, 'kind'>[] {
  const sealed = throughContainer(sealedPart)
  if (opened.message !== null) {
    const sizes = (part: Part) => textOf(part.message!)
    const text = sizes(opened)
    const own = { octets: text.length, lines: lines(text), sealedOctets: sizes(sealed).length }
    return [own, ...count(opened.message, sealed.message!)]
  }
  if (opened.boundary !== null) {
    return opened.children.flatMap((child, i) => count(child.part, sealed.children[i]!.part))
  }
  return [{ octets: opened.body.length, lines: lines(opened.body), sealedOctets: sealed.body.length }]
}

function textOf(part: Part): string {
  const header = part.headers.map((h, i) => h + part.eols[i]).join('') + part.blank
  const children = part.children.map(({ delimiter, part: child }) => delimiter + textOf(child)).join('')
  return header + (part.message === null ? part.body + part.preamble + children + part.rest : textOf(part.message))
}

test('sizes that a reader counts, too', () => {
  for (const { name, plain } of VECTOR_MESSAGES) {
    // Leaves with us that the plain reader takes apart.
    if (name === '22-boundary-prefix' || name === '24-signed') continue
    const { sealed, declared } = known(plain)
    if (hasOddLineEnd(plain)) {
      assert.equal(declared, null, name)
      continue
    }
    const [opened, sealedPart] = [readPart(plain.toString('latin1')), readPart(sealed.toString('latin1'))]
    const parts = declared!.parts!.map(({ octets, lines, sealedOctets }) => ({ octets, lines, sealedOctets }))
    assert.deepEqual(parts, count(opened, sealedPart), name)
    const body = (message: Buffer) => message.toString('latin1').replace(/^[\s\S]*?\r?\n(\r?\n|$)/, '')
    if (name === '12-malformed-header' || name === '15-no-blank-line') continue
    const [plainBody, sealedBody] = [body(plain), body(sealed)]
    const sizes = { octets: plainBody.length, lines: lines(plainBody), sealedOctets: sealedBody.length }
    assert.deepEqual(declared!.body, sizes, name)
  }
})

test('what is declared is what is found on opening', () => {
  const folder = new URL('fixtures/', import.meta.url)
  const files = readdirSync(folder, { recursive: true }).filter((file) => String(file).endsWith('.eml'))
  for (const file of files) {
    const message = readFileSync(new URL(String(file), folder))
    const { counted, declared, read } = known(message)
    assert.deepEqual(declared, hasOddLineEnd(message) ? null : counted, String(file))
    assert.deepEqual(read, counted, String(file))
  }
})

const hasOddLineEnd = (message: Buffer) => /(?<!\r)\n|\r\r\n|\r$/.test(message.toString('latin1'))

test('bare LFs are served as CRLF: the sizes are not declared, but for cutting off the padding', () => {
  for (const text of ['Subject: x\n\ny\n', 'Subject: x\r\n\r\ny\nz\r\n', '\nx']) {
    const message = Buffer.from(text)
    assert.equal(known(message).declared, null)
    const { declared, opened } = known(message, { totalOctets: message.length, padded: true })
    assert.deepEqual(declared?.body.lines, null)
    assert.deepEqual(declared?.parts, null)
    assert.deepEqual(opened, message)
  }
  const long = Buffer.from(`Subject: x\n\n${LONG_BODY}`)
  const settings = { ...SETTINGS, maxbufOctets: 1000 }
  assert.equal(known(long, { settings, totalOctets: long.length }).declared, null)
  // Of a long message, those in what is gathered of it, however it is cut; what comes later cannot be known.
  const body = Buffer.from(`Subject: x\r\n\r\n${'x'.repeat(900)}\n${LONG_BODY}`)
  assert.equal(known(body, { settings, totalOctets: body.length }).declared, null)
  const late = Buffer.from(`Subject: x\r\n\r\n${'x'.repeat(1100)}\n${LONG_BODY}`)
  const how = { options: { settings, totalOctets: late.length } }
  assert.deepEqual(seal(late, { ...how, chunks: piecesOf(7) }), seal(late, how))
  assert.notEqual(known(late, { settings, totalOctets: late.length }).declared, null)
})

const LONG_BODY = 'x'.repeat(70).concat('\r\n').repeat(100)

test('of a long message, what its total tells', () => {
  const settings = { ...SETTINGS, maxbufOctets: 1000 }
  const plain = Buffer.from(`Subject: x\r\n\r\n${LONG_BODY}`)
  const { declared, counted } = known(plain, { settings, totalOctets: plain.length })
  assert.deepEqual(declared?.body, { ...counted.body, lines: null })
  assert.deepEqual(declared?.parts, [{ ...counted.parts![0]!, lines: null }])
  assert.equal(known(plain, { settings }).declared, null)
  const multipart = Buffer.from(`Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n${LONG_BODY}\r\n--b--`)
  const of = known(multipart, { settings, totalOctets: multipart.length })
  assert.deepEqual(of.declared, {
    body: { octets: of.counted.body.octets, lines: null, sealedOctets: null },
    parts: null,
  })
})

test('a message of too many parts lists none', () => {
  const message = Buffer.from(
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(1500)}--b--`,
  )
  const { declared, counted, opened } = known(message)
  assert.equal(declared?.parts, null)
  assert.deepEqual(declared?.body, counted.body)
  assert.deepEqual(opened, message)
})

test('padding behind the message is cut off', () => {
  const bodies = [`\r\n${LONG_BODY}`, 'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--', '\r\n']
  for (const maxbufOctets of [100, 1 << 20]) {
    for (const body of bodies) {
      const message = Buffer.from(`Subject: x\r\n${body}`)
      const settings = { ...SETTINGS, maxbufOctets }
      const { sealed } = known(message, { settings, totalOctets: message.length, padded: true })
      for (const lines of [0, 1, 1000]) {
        const padded = Buffer.concat([sealed, Buffer.from('\r\n'.repeat(lines))])
        assert.deepEqual(through(new Opener({ maxbufOctets: 1000 }), [padded], { key: KEY }), message)
      }
    }
  }
})

const SETTINGS = {
  subject: 's',
  banners: [Buffer.from('Content-Type: text/plain\n\nb\n')],
  viewerUrl: null,
  maxbufOctets: 1 << 20,
}

test('a long body goes through batches that are asked for, and holds the input back meanwhile', () => {
  const sealer = sealerFor({ options: { settings: SETTINGS } })
  const asked: TransformAsk[] = []
  const out: Buffer[] = []
  const take = (actions: ReturnType<typeof sealer.push>) => {
    for (const action of actions) {
      if (action.do === 'write') out.push(action.bytes)
      else if (action.do === 'ask') asked.push(action)
    }
  }
  const chunk = Buffer.alloc(256 * 1024, 'text of the body\r\n')
  take(sealer.push(Buffer.from('Subject: x\r\n\r\n')))
  take(sealer.answer(asked.shift()!.id, sealAnswer()))
  let pushed = 0
  while (sealer.wants) {
    take(sealer.push(chunk))
    pushed++
    assert.ok(pushed < 100, 'the input is never held back')
  }
  // One question at a time: each piece starts from the state of the one before.
  assert.equal(asked.length, 1)
  take(sealer.end())
  for (let ask = asked.shift(); ask !== undefined; ask = asked.shift()) {
    assert.ok(ask.kind === 'batch' && ask.ask.input.length <= 1 << 20)
    take(sealer.answer(ask.id, runBatch(ask.ask)))
  }
  const opened = through(new Opener({ maxbufOctets: 1000 }), [Buffer.concat(out)], { key: KEY })
  assert.equal(opened.length, 'Subject: x\r\n\r\n'.length + pushed * chunk.length)
})
