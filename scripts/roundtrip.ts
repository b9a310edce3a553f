/**
 * `npm run roundtrip -- [--chunk N|random] [--json OUT] FILES…`: seals each file and opens it again, and says whether it
 * came back octet for octet. A folder means all files below it. Exit 0 only if none differs or fails.
 */
import { randomBytes, randomInt } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { asGatewayError } from '../src/base/errors.ts'
import { runTransform, type TransformAnswers } from '../src/engine/run-transform.ts'
import { runBatch } from '../src/engine/seal/batch.ts'
import { NEW_KEY_OCTETS } from '../src/engine/seal/ciphers.ts'
import type { MessageKey } from '../src/engine/seal/message-key.ts'
import { Opener } from '../src/engine/seal/opener.ts'
import { Sealer } from '../src/engine/seal/sealer.ts'
import { argumentsOf } from './arguments.ts'

type Result = 'exact' | 'added-id' | 'differs' | 'error'

interface FileResult {
  readonly file: string
  readonly result: Result
  readonly detail: string | null
}

type Chunks = number | 'random' | null

const MAXBUF_OCTETS = 1 << 20
const BANNER = Buffer.from('Content-Type: text/plain\r\n\r\nThis is a VESmail encrypted message.\r\n')

function* pieces(bytes: Buffer, chunks: Chunks): Iterable<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const octets = chunks === null ? bytes.length : chunks === 'random' ? 1 + randomInt(2 ** randomInt(1, 17)) : chunks
    yield Buffer.from(bytes.subarray(at, at + octets))
    at += octets
  }
}

async function collect(output: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const bytes of output) all.push(bytes)
  return Buffer.concat(all)
}

async function roundTrip(original: Buffer, chunks: Chunks): Promise<Omit<FileResult, 'file'>> {
  const key: MessageKey = { algo: 'AES256GCM1K', keyString: randomBytes(NEW_KEY_OCTETS) }
  const sealer = new Sealer({
    random: randomBytes,
    idBase: '.VESmail@localhost',
    settings: {
      subject: '<VESmail encrypted message>',
      banners: [BANNER],
      viewerUrl: null,
      maxbufOctets: MAXBUF_OCTETS,
    },
    totalOctets: original.length,
    addedIdStays: false,
  })
  const answers: TransformAnswers = {
    'seal-key': ({ messageId }) => ({ key, uri: `ves://vesmail/${messageId}`, xchg: null, verify: null }),
    'open-key': () => ({ key }),
    batch: runBatch,
  }
  const sealed = await collect(runTransform(sealer, pieces(original, chunks), answers))
  const opener = new Opener({ maxbufOctets: MAXBUF_OCTETS })
  const opened = await collect(runTransform(opener, pieces(sealed, chunks), answers))
  if (opened.equals(original)) return { result: 'exact', detail: null }
  const withoutId = opened.toString('latin1').replace(`Message-ID: <${sealer.facts.messageId}>`, '')
  if (withoutId.replace(/^\r?\n/m, '') === original.toString('latin1')) return { result: 'added-id', detail: null }
  let at = 0
  while (at < original.length && original[at] === opened[at]) at++
  return { result: 'differs', detail: `from octet ${at} on; ${original.length} octets became ${opened.length}` }
}

function* filesOf(path: string): Iterable<string> {
  // One that is not there is a file that fails, not the end of the run.
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) yield path
  else for (const name of readdirSync(path).sort()) yield* filesOf(join(path, name))
}

function parseChunks(text: string | undefined): Chunks {
  if (text === undefined || text === 'random') return text ?? null
  const octets = Number(text)
  if (!Number.isSafeInteger(octets) || octets < 1) {
    console.error('--chunk takes a number of octets or "random"')
    process.exit(1)
  }
  return octets
}

const { values, positionals } = argumentsOf('npm run roundtrip -- [--chunk OCTETS|random] [--json OUT] FILES…', {
  chunk: { type: 'string' },
  json: { type: 'string' },
})
const chunks = parseChunks(values.chunk)
// npm runs scripts in the project's folder; names are meant from where the user stands.
const from = process.env.INIT_CWD ?? process.cwd()
const results: FileResult[] = []
for (const file of positionals.flatMap((path) => [...filesOf(resolve(from, path))])) {
  let result: Omit<FileResult, 'file'>
  try {
    result = await roundTrip(readFileSync(file), chunks)
  } catch (thrown) {
    const error = asGatewayError(thrown)
    const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
    result = { result: 'error', detail: `${error.message}${cause}` }
  }
  results.push({ file, ...result })
  console.log(`${result.result.padEnd(8)} ${file}${result.detail === null ? '' : `: ${result.detail}`}`)
}
const count = (result: Result) => results.filter((each) => each.result === result).length
const totals = { exact: count('exact'), addedId: count('added-id'), differs: count('differs'), error: count('error') }
console.log(`exact ${totals.exact}, added-id ${totals.addedId}, differs ${totals.differs}, error ${totals.error}`)
if (values.json !== undefined) writeFileSync(resolve(from, values.json), JSON.stringify({ ...totals, files: results }))
if (results.length === 0) console.error('no files given: npm run roundtrip -- FILES…')
process.exitCode = totals.differs + totals.error > 0 || results.length === 0 ? 1 : 0
