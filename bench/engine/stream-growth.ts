/**
 * A message of 1 GiB sealed and opened on the fly, text and attachment by halves, and how much memory that takes above
 * what the process has before. Prints JSON. With the argument `worker`, under a worker's garbage collector
 * (`COLLECTOR_FLAGS` are given by who starts it). What comes out is compared with what went in, piece by piece.
 */
import { createHash } from 'node:crypto'
import { tuneCollector } from '../../src/workers/collector.ts'
import { MESSAGES } from './messages.ts'
import { newOpener, newSealer, passInPlace, reads } from './passage.ts'

const MiB = 1 << 20
const GiB = 1024 * MiB

function* message(octets: number): Generator<Buffer> {
  const line = Buffer.alloc(
    64 * 1024,
    'A line of text in a message that does not end, 8 bit: \xc3\xbc.\r\n'.padEnd(64, '.'),
  )
  const base64 = Buffer.alloc(78 * 800, `${'QUJD'.repeat(19)}\r\n`)
  yield Buffer.from(
    'From: a@example.com\r\nMessage-ID: <long@example.com>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n',
  )
  yield Buffer.from('--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n')
  for (let done = 0; done < octets / 2; done += line.length) yield Buffer.from(line)
  yield Buffer.from('\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n')
  for (let done = 0; done < octets / 2; done += base64.length) yield Buffer.from(base64)
  yield Buffer.from('\r\n--b--\r\n')
}

function run(octets: number): { readonly same: boolean; readonly peak: number; readonly ms: number } {
  const [before, after] = [createHash('sha1'), createHash('sha1')]
  let peak = 0
  let sinceLook = 0
  function* watched(): Generator<Buffer> {
    for (const piece of message(octets)) {
      before.update(piece)
      sinceLook += piece.length
      if (sinceLook > MiB) {
        sinceLook = 0
        peak = Math.max(peak, process.memoryUsage.rss())
      }
      yield piece
    }
  }
  const begin = performance.now()
  const opener = newOpener()
  passInPlace(opener, sealedPieces(watched()), (bytes) => after.update(bytes))
  return { same: before.digest('hex') === after.digest('hex'), peak, ms: performance.now() - begin }
}

/** The sealer's output as it comes, so that neither side waits for the other to end. */
function* sealedPieces(input: Iterable<Buffer>): Generator<Buffer> {
  const ready: Buffer[] = []
  const sealer = newSealer()
  const pieces = input[Symbol.iterator]()
  const stepwise = {
    [Symbol.iterator]: () => pieces,
  }
  for (const piece of stepwise) {
    passPiece(sealer, piece, ready)
    yield* ready.splice(0)
  }
  passPiece(sealer, null, ready)
  yield* ready.splice(0)
}

function passPiece(sealer: ReturnType<typeof newSealer>, piece: Buffer | null, ready: Buffer[]): void {
  const one = { push: sealer.push.bind(sealer), end: () => [], answer: sealer.answer.bind(sealer), wants: true }
  if (piece !== null) passInPlace(one, [piece], (bytes) => ready.push(bytes))
  else passInPlace({ ...one, push: () => [], end: sealer.end.bind(sealer) }, [], (bytes) => ready.push(bytes))
}

if (process.argv[2] === 'worker') tuneCollector()
// Warm: code compiled, scratch there, a small message through.
passInPlace(newSealer(), reads(MESSAGES.small().message), () => {})
run(16 * MiB)
const base = process.memoryUsage.rss()
const { same, peak, ms } = run(GiB)
if (!same) throw new Error('what was opened is not what was sealed')
process.stdout.write(JSON.stringify({ growth: Math.max(0, peak - base) / MiB, speed: GiB / ms / 1000 }))
