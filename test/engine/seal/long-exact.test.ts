/** Whatever is too long to be examined whole comes back octet for octet, however it and its batches come. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runBatch } from '../../../src/engine/seal/batch.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import type { Transform, TransformAction, TransformAsk } from '../../../src/engine/transform.ts'
import { contentOf } from './content.ts'
import { type Dice, diceOf } from './generate.ts'
import { generateLong } from './long-texts.ts'
import { plainOpen } from './plain-reader.ts'
import { KEY, open, piecesOf, randomPieces, sealAnswer, sealerFor, through, whole } from './through.ts'

/** Answers come late, and in any order. */
function throughLate(transform: Transform, chunks: Iterable<Buffer>, keyAnswer: unknown, dice: Dice): Buffer {
  const out: Buffer[] = []
  const asked: TransformAsk[] = []
  let done = false
  const take = (actions: readonly TransformAction[]) => {
    for (const action of actions) {
      if (action.do === 'write') out.push(action.bytes)
      else if (action.do === 'done') done = true
      else asked.push(action)
    }
  }
  const answerOne = () => {
    const [ask] = asked.splice(dice.below(asked.length), 1)
    take(transform.answer(ask!.id, ask!.kind === 'batch' ? runBatch(ask!.ask) : keyAnswer))
  }
  for (const chunk of chunks) {
    take(transform.push(chunk))
    while (asked.length > 0 && dice.oneIn(3)) answerOne()
  }
  take(transform.end())
  while (asked.length > 0) answerOne()
  assert.ok(done)
  return Buffer.concat(out)
}

function assertExact(seed: number): void {
  const dice = diceOf(seed)
  const { message, maxbufOctets } = generateLong(dice)
  const how = { options: { settings: { maxbufOctets } } }
  const sealed = through(sealerFor(how), whole(message), sealAnswer())
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  const opened = through(opener, whole(sealed), { key: KEY })
  assert.ok(opened.equals(message), `seed ${seed}: ${message.length} octets differ`)
  assert.deepEqual([opener.facts.layoutLost, opener.facts.missingParts], [0, 0], `seed ${seed}`)
  const octets = message.length > 100_000 ? 100_000 : 1 + dice.below(100)
  const chunks = dice.oneIn(2) ? piecesOf(octets) : randomPieces(String(seed))
  const late = throughLate(sealerFor(how), chunks(message), sealAnswer(), dice)
  assert.ok(late.equals(sealed), `seed ${seed}: sealed differs in pieces`)
  const inPieces = throughLate(new Opener({ maxbufOctets: 1 << 20 }), chunks(sealed), { key: KEY }, dice)
  assert.ok(inPieces.equals(message), `seed ${seed}: differs in pieces`)
}

test('seeded long messages', () => {
  for (let seed = 1; seed <= 400; seed++) assertExact(seed)
})

test('a §5 reader decodes the same from them', () => {
  const text = `${'A paragraph = \xc3\xa9. '.repeat(20)} \r\n`.repeat(30)
  const quoted = text.replace(/[=\x80-\xff]/g, (c) => `=${c.charCodeAt(0).toString(16)}`).replaceAll('. A', '.=\n A')
  const base64 = Buffer.from(text, 'latin1').toString('base64')
  for (const [encoding, body] of [
    ['quoted-printable', quoted],
    ['base64', `${base64.slice(0, 4000)}\n${base64.slice(4000)}`],
  ]) {
    const message = Buffer.from(`Content-Transfer-Encoding: ${encoding}\r\n\r\n${body}`, 'latin1')
    const sealed = through(sealerFor({ options: { settings: { maxbufOctets: 1000 } } }), whole(message), sealAnswer())
    assert.match(sealed.toString('latin1'), /[ \t]{76}\r\n/)
    assert.deepEqual(contentOf(plainOpen(sealed, KEY.keyString)), contentOf(message))
    assert.deepEqual(open(sealed), message)
  }
})
