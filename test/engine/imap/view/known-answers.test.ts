/** What the real server answered for each message, and what the view answers: octet for octet. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { withCrlf } from '../../../../scripts/oracle/messages.ts'
import { questionsFor } from '../../../../scripts/oracle/questions.ts'
import { expectedLine, viewOf } from '../../../../scripts/oracle/view-answers.ts'

interface Recorded {
  readonly answers: Readonly<Record<string, string>>
  readonly questions: number
  readonly digest: string
}

const FIXTURES = new URL('./fixtures/', import.meta.url)
const VECTORS = new URL('../../../vectors/messages/', import.meta.url)

function recorded(name: string): Readonly<Record<string, Recorded>> {
  return JSON.parse(readFileSync(new URL(name, FIXTURES), 'utf8')).messages
}

function check(folder: URL, messages: Readonly<Record<string, Recorded>>): void {
  const names = readdirSync(folder).filter(
    (name) => /\.eml$/.test(name) && (folder !== VECTORS || /plain\.eml$/.test(name)),
  )
  assert.deepEqual(names.sort(), Object.keys(messages).sort())
  for (const [name, { answers, questions, digest }] of Object.entries(messages)) {
    it(`${name}: ${questions} questions`, () => {
      const octets = withCrlf(readFileSync(new URL(name, folder)))
      const viewed = viewOf(octets)
      const hash = createHash('sha256')
      let asked = 0
      for (const { uid, items } of questionsFor(viewOf(octets).view)) {
        const line = expectedLine(viewed, 1, uid, items)
        if (line === null) continue
        hash.update(line)
        asked++
        const known = answers[items]
        if (known !== undefined) assert.equal(line.toString('latin1'), known, items)
      }
      assert.equal(asked, questions)
      assert.equal(hash.digest('hex'), digest)
    })
  }
}

describe('the view answers as the server did', () => check(FIXTURES, recorded('answers.json')))
describe('the view answers as the server did, for the vectors', () => check(VECTORS, recorded('vector-answers.json')))
