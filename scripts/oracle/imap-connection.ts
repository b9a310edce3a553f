/**
 * A plain IMAP connection that keeps every octet of what comes back, and counts them: the oracle compares raw answers.
 * Not an IMAP client: it knows lines and literals, nothing more.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export interface Address {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

/** Everything answered to one command; the last response is the tagged one. Tags are replaced by `TAG`. */
export interface Reply {
  readonly responses: readonly Buffer[]
}

const CRLF = Buffer.from('\r\n')
/** A hung server must not hang CI; a loaded machine is slow. */
const TIMEOUT_MS = 180_000

/** `host:port:user:pass`; the password may hold colons. */
export function parseAddress(text: string): Address {
  const match = /^(.+?):(\d+):([^:]*):(.*)$/.exec(text)
  if (match === null) throw new Error(`not host:port:user:pass: ${text}`)
  return { host: match[1]!, port: Number(match[2]), user: match[3]!, password: match[4]! }
}

export class ImapConnection {
  #socket: Socket
  #chunks: AsyncIterator<Buffer>
  #buffer: Buffer = Buffer.alloc(0)
  #tags = 0
  octetsIn = 0
  octetsOut = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#chunks = socket[Symbol.asyncIterator]()
  }

  /** TLS is started only where the server takes no password without it; its certificate is not looked at. */
  static async open({ host, port, user, password }: Address): Promise<ImapConnection> {
    const socket = connect({ host, port, noDelay: true })
    await once(socket, 'connect')
    // Its errors come by the iterator; one that comes later must not end the program.
    socket.on('error', () => {})
    const connection = new ImapConnection(socket)
    const greeting = await connection.#response()
    if (greeting.includes('LOGINDISABLED')) await connection.#startTls()
    const login = await connection.command(`LOGIN ${quoted(user)} ${quoted(password)}`)
    if (!isOk(login)) throw new Error(`login: ${login.responses.at(-1)?.toString().trim()}`)
    return connection
  }

  async #startTls(): Promise<void> {
    if (!isOk(await this.command('STARTTLS'))) throw new Error('STARTTLS refused')
    // No more octets come by this iterator: it must not close the socket under TLS, so it is just left.
    const tls = connectTls({ socket: this.#socket, rejectUnauthorized: false })
    await once(tls, 'secureConnect')
    this.#socket = tls
    this.#chunks = tls[Symbol.asyncIterator]()
  }

  /**
   * One at a time: Dovecot works on pipelined FETCHes together, so that their answers could not be told apart.
   * @param parts a command in pieces, without tag and final CRLF
   */
  async command(...parts: readonly (string | Buffer)[]): Promise<Reply> {
    const tag = `o${++this.#tags}`
    const bytes = Buffer.concat([Buffer.from(`${tag} `), ...parts.map((part) => Buffer.from(part as string)), CRLF])
    this.octetsOut += bytes.length
    this.#socket.write(bytes)
    const socket = this.#socket
    const timer = setTimeout(() => socket.destroy(new Error('no answer in time')), TIMEOUT_MS)
    try {
      return await this.#reply(tag)
    } finally {
      clearTimeout(timer)
    }
  }

  async close(): Promise<void> {
    await this.command('LOGOUT').catch(() => null)
    this.#socket.destroy()
  }

  async #reply(tag: string): Promise<Reply> {
    const start = Buffer.from(`${tag} `)
    const responses: Buffer[] = []
    for (;;) {
      const response = await this.#response()
      if (response.subarray(0, start.length).equals(start)) {
        responses.push(Buffer.concat([Buffer.from('TAG '), response.subarray(start.length)]))
        return { responses }
      }
      responses.push(response)
    }
  }

  /** One response with its literals. */
  async #response(): Promise<Buffer> {
    let scan = 0
    for (;;) {
      const lf = this.#buffer.indexOf(0x0a, scan)
      if (lf < 0) {
        scan = this.#buffer.length
        await this.#more()
        continue
      }
      const literal = /\{(\d+)\}\r\n$/.exec(this.#buffer.toString('latin1', Math.max(0, lf - 30), lf + 1))
      if (literal === null) {
        const response = this.#buffer.subarray(0, lf + 1)
        this.#buffer = this.#buffer.subarray(lf + 1)
        return response
      }
      scan = lf + 1 + Number(literal[1])
      while (this.#buffer.length < scan) await this.#more()
    }
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#chunks.next()
    if (done === true) throw new Error('connection lost')
    this.octetsIn += value.length
    this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value])
  }
}

export function isOk(reply: Reply): boolean {
  return reply.responses.at(-1)?.toString('latin1', 0, 7) === 'TAG OK '
}

export function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}
