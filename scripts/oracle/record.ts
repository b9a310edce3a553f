/**
 * Records what the real server answers for messages, as known answers for tests that run without it:
 *
 *   node scripts/oracle/record.ts --direct host:port:user:pass [--digests] OUT.json FILES…
 *
 * Of each message: the items of its structure, its sections and some ranges in full, and a digest over every question
 * the oracle would ask of its content; with --digests that alone.
 */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { argumentsOf } from '../arguments.ts'
import { ImapConnection, isOk, parseAddress } from './imap-connection.ts'
import { readMessage } from './messages.ts'
import { questionsFor, WARMING } from './questions.ts'
import { expectedLine, viewOf } from './view-answers.ts'

const MAILBOX = 'oracle-record'
/** Longer answers are only in the digest. */
const MAX_SHOWN_OCTETS = 1500

const { values, positionals } = argumentsOf(
  'node scripts/oracle/record.ts --direct HOST:PORT:USER:PASS [--digests] OUT FILES…',
  { direct: { type: 'string' }, digests: { type: 'boolean', default: false } },
)
const [out, ...files] = positionals
if (values.direct === undefined || out === undefined) throw new Error('--direct and a file to write are needed')

const connection = await ImapConnection.open(parseAddress(values.direct))
const messages: Record<string, { answers: Record<string, string>; questions: number; digest: string }> = {}
for (const file of files) {
  const { octets } = await readMessage(file)
  for (const command of [`DELETE ${MAILBOX}`, `CREATE ${MAILBOX}`]) await connection.command(command)
  const append = await connection.command(`APPEND ${MAILBOX} (\\Seen) {${octets.length}+}\r\n`, octets)
  if (!isOk(append)) throw new Error(`${file}: ${append.responses.at(-1)}`)
  await connection.command(`SELECT ${MAILBOX}`)
  await connection.command(`FETCH 1 ${WARMING}`)
  const viewed = viewOf(octets)
  const answers: Record<string, string> = {}
  const hash = createHash('sha256')
  let questions = 0
  for (const { uid, items } of questionsFor(viewOf(octets).view)) {
    if (expectedLine(viewed, 1, uid, items) === null) continue
    const { responses } = await connection.command(`${uid ? 'UID ' : ''}FETCH 1 ${items}`)
    const answer = Buffer.concat(responses.slice(0, -1))
    hash.update(answer)
    questions++
    if (!values.digests && !items.includes('<') && !items.startsWith('(') && answer.length <= MAX_SHOWN_OCTETS) {
      answers[items] = answer.toString('latin1')
    }
  }
  messages[basename(file)] = { answers, questions, digest: hash.digest('hex') }
  await connection.command('CLOSE')
}
await connection.close()
writeFileSync(out, `${JSON.stringify({ server: 'Dovecot 2.3.19.1', messages }, null, 1)}\n`)
