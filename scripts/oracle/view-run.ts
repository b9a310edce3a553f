/**
 * `oracle --view`: no gateway, but what its view of a message answers, against the server that holds the same message.
 */
import { type Address, ImapConnection, isOk } from './imap-connection.ts'
import { readMessage } from './messages.ts'
import { questionsFor, WARMING } from './questions.ts'
import type { Report } from './report.ts'
import { expectedLine, viewOf } from './view-answers.ts'

const MAILBOX = 'oracle-view'

export async function runView(address: Address, files: readonly string[], report: Report): Promise<void> {
  let connection = await ImapConnection.open(address)
  const start = async (): Promise<void> => {
    await connection.command(`DELETE ${MAILBOX}`)
    await connection.command(`CREATE ${MAILBOX}`)
  }
  for (const file of files) {
    // One message a mailbox: its number and UID are 1.
    await start()
    try {
      await askAll(connection, file, report)
    } catch (error) {
      report.connectionsLost++
      report.differ(file, '(connection)', String(error))
      connection = await ImapConnection.open(address)
    }
  }
  await connection.close()
}

async function askAll(connection: ImapConnection, file: string, report: Report): Promise<void> {
  const { octets } = await readMessage(file)
  const appended = await connection.command(`APPEND ${MAILBOX} (\\Seen) {${octets.length}+}\r\n`, octets)
  if (!isOk(appended)) {
    report.appendFailed++
    report.differ(file, 'APPEND', String(appended.responses.at(-1)))
    return
  }
  await connection.command(`SELECT ${MAILBOX}`)
  await connection.command(`FETCH 1 ${WARMING}`)
  const viewed = viewOf(octets)
  const asked = questionsFor(viewOf(octets).view).flatMap(({ uid, items }) => {
    const expected = expectedLine(viewed, 1, uid, items)
    return expected === null ? [] : [{ command: `${uid ? 'UID ' : ''}FETCH 1 ${items}`, expected }]
  })
  for (const { command, expected } of asked) {
    const { responses } = await connection.command(command)
    report.compare(file, command, Buffer.concat(responses.slice(0, -1)), expected)
  }
  await connection.command('CLOSE')
}
