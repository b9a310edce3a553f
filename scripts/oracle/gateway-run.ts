/**
 * The oracle proper: each message appended plain to one mailbox directly, and through the gateway to another, then every
 * question asked on both connections and the raw answers compared.
 */
import { type Address, ImapConnection, isOk, type Reply } from './imap-connection.ts'
import { type Message, readMessage } from './messages.ts'
import { questionsFor, WARMING } from './questions.ts'
import type { Report } from './report.ts'
import { viewOf } from './view-answers.ts'
import { withoutSizes } from './without-sizes.ts'

const MAILBOX = 'oracle'
/** Messages in a mailbox at a time. */
const GROUP = 25
/** The same on both sides, or it would differ by nature. */
const DATE = '"24-Nov-2026 12:00:00 +0000"'
/** Takes the place of a message that one side refused, so that numbers stay the same. */
const FILLER = Buffer.from('Subject: filler\r\n\r\nfiller\r\n')

/** Asked of a whole mailbox at once. */
const SET_ITEMS = [
  '(UID FLAGS INTERNALDATE RFC822.SIZE)',
  '(FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)',
  '(UID BODY.PEEK[HEADER.FIELDS (Subject From Date)] BODY.PEEK[TEXT]<0.100>)',
  'FULL',
]

export interface GatewayRun {
  readonly direct: Address
  readonly gateway: Address
  readonly sizes: string
}

/** What was paid on the client's side; the provider's side is counted by the relay. */
export interface Traffic {
  directOctets: number
  gatewayOctets: number
  /** Waiting for answers to the questions, milliseconds. */
  directMs: number
  gatewayMs: number
}

export async function runGateway(run: GatewayRun, files: readonly string[], report: Report): Promise<Traffic> {
  const pair = new Pair(run, report)
  await pair.open()
  for (let from = 0; from < files.length; from += GROUP) {
    const messages: Message[] = []
    for (const file of files.slice(from, from + GROUP)) messages.push(await readMessage(file))
    await pair.group(messages)
  }
  await pair.close()
  return pair.traffic
}

class Pair {
  readonly #run: GatewayRun
  readonly #report: Report
  #direct!: ImapConnection
  #gateway!: ImapConnection
  readonly traffic: Traffic = { directOctets: 0, gatewayOctets: 0, directMs: 0, gatewayMs: 0 }

  constructor(run: GatewayRun, report: Report) {
    this.#run = run
    this.#report = report
  }

  async open(): Promise<void> {
    this.#direct = await ImapConnection.open(this.#run.direct)
    this.#gateway = await this.#openGateway()
  }

  async close(): Promise<void> {
    for (const each of [this.#direct, this.#gateway]) {
      await each.command(`DELETE ${MAILBOX}`).catch(() => null)
      await each.close()
    }
    this.traffic.directOctets += this.#direct.octetsIn
    this.traffic.gatewayOctets += this.#gateway.octetsIn
  }

  async group(messages: readonly Message[]): Promise<void> {
    for (const command of [`DELETE ${MAILBOX}`, `CREATE ${MAILBOX}`]) await this.#both(command)
    const present: { readonly number: number; readonly message: Message }[] = []
    for (const [index, message] of messages.entries()) {
      if (await this.#append(message)) present.push({ number: index + 1, message })
    }
    await this.#both(`SELECT ${MAILBOX}`)
    await this.#direct.command(`FETCH 1:* ${WARMING}`)
    for (const { number, message } of present) {
      for (const { uid, items } of questionsFor(viewOf(message.octets).view)) {
        await this.#ask(message.file, `${uid ? 'UID ' : ''}FETCH ${number} ${items}`)
      }
    }
    const set = present.map(({ number }) => number).join(',')
    if (set !== '') {
      for (const items of SET_ITEMS) {
        for (const form of ['FETCH', 'UID FETCH']) await this.#ask('(all of a mailbox)', `${form} ${set} ${items}`)
      }
    }
    await this.#both('CLOSE')
  }

  /** @returns false when one side refused it */
  async #append({ file, octets }: Message): Promise<boolean> {
    const append = async (connection: ImapConnection): Promise<string | null> => {
      const reply = await connection.command(`APPEND ${MAILBOX} ${DATE} {${octets.length}+}\r\n`, octets)
      return isOk(reply) ? null : String(reply.responses.at(-1)).trim()
    }
    const direct = await append(this.#direct)
    let gateway: string | null
    try {
      gateway = await append(this.#gateway)
    } catch (error) {
      gateway = String(error)
      await this.#lost(file, 'APPEND', error)
    }
    if (direct === null && gateway === null) return true
    const refused = { direct, gateway }
    if (gateway !== null && direct === null) {
      this.#report.appendFailed++
      this.#report.differ(file, 'APPEND', gateway)
    }
    for (const side of ['direct', 'gateway'] as const) {
      const connection = side === 'direct' ? this.#direct : this.#gateway
      if (refused[side] !== null) await connection.command(`APPEND ${MAILBOX} {${FILLER.length}+}\r\n`, FILLER)
    }
    return false
  }

  async #ask(file: string, command: string): Promise<void> {
    // In turns, so that neither waits for the other.
    const startMs = performance.now()
    const direct = await this.#direct.command(command)
    const directMs = performance.now()
    this.traffic.directMs += directMs - startMs
    let gateway: Reply
    try {
      gateway = await this.#gateway.command(command)
      this.traffic.gatewayMs += performance.now() - directMs
    } catch (error) {
      this.#report.questions++
      await this.#lost(file, command, error)
      await this.#gateway.command(`SELECT ${MAILBOX}`)
      return
    }
    const normal = this.#run.sizes === 'estimate' ? withoutSizes : (reply: Buffer): Buffer => reply
    this.#report.compare(file, command, normal(comparable(direct)), normal(comparable(gateway)))
  }

  async #lost(file: string, question: string, error: unknown): Promise<void> {
    this.#report.connectionsLost++
    this.#report.differ(file, question, `connection lost: ${error}`)
    this.traffic.gatewayOctets += this.#gateway.octetsIn
    this.#gateway = await this.#openGateway()
  }

  async #both(command: string): Promise<void> {
    await this.#direct.command(command)
    await this.#gateway.command(command)
  }

  /** `sizes` is the account's setting; a gateway that is not ours to configure is told by its own command. */
  async #openGateway(): Promise<ImapConnection> {
    const connection = await ImapConnection.open(this.#run.gateway)
    if (this.#run.sizes !== 'auto') await connection.command(`XVES CALC ${this.#run.sizes === 'exact' ? 1 : 0}`)
    return connection
  }
}

/** All responses as one; how long the server says it took does not count. */
function comparable({ responses }: Reply): Buffer {
  const tagged =
    responses
      .at(-1)
      ?.toString('latin1')
      .replace(/ \([\d.]+ \+ [\d. +]+ secs\)/, '') ?? ''
  return Buffer.concat([...responses.slice(0, -1), Buffer.from(tagged, 'latin1')])
}
