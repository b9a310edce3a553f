/** The barest IMAP client: sends a command as given, returns every octet of the answer. Literals are honoured. */
import { connect, type Socket } from 'node:net'
import { Framer, type Piece } from '../../src/engine/imap/framer.ts'
import { literalOfResponse } from '../../src/engine/imap/response.ts'

export class RawImap {
  readonly #socket: Socket
  readonly #framer = new Framer({ maxLineOctets: 64 * 1024 * 1024, literalOf: literalOfResponse })
  #waiting: (() => void) | null = null
  #closed = false
  #next = 1

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#framer.push(bytes)
      this.#waiting?.()
    })
    socket.on('close', () => {
      this.#closed = true
      this.#waiting?.()
    })
  }

  static async login(port: number, user: string, password: string): Promise<RawImap> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    const client = new RawImap(socket)
    await client.#piece()
    const answer = await client.command(`LOGIN ${user} ${password}`)
    if (!/ OK /.test(answer.at(-1) ?? '')) throw new Error(`login: ${answer.join('')}`)
    return client
  }

  /** Whole responses, literals included, latin1; the last one is the tagged line without its tag. */
  async command(text: string | Buffer): Promise<string[]> {
    const tag = `T${this.#next++}`
    this.#socket.write(Buffer.concat([Buffer.from(`${tag} `), Buffer.from(text as string), Buffer.from('\r\n')]))
    const responses: string[] = []
    let response = ''
    for (;;) {
      const piece = await this.#piece()
      response += piece.bytes.toString('latin1')
      if (piece.is !== 'line' || piece.literal !== null) continue
      if (response.startsWith(`${tag} `)) return [...responses, response.slice(tag.length)]
      responses.push(response)
      response = ''
    }
  }

  async append(mailbox: string, message: Buffer): Promise<string> {
    const answer = await this.command(
      Buffer.concat([Buffer.from(`APPEND ${mailbox} {${message.length}+}\r\n`), message]),
    )
    return answer.at(-1)!
  }

  close(): void {
    this.#socket.destroy()
  }

  async #piece(): Promise<Piece> {
    for (;;) {
      const piece = this.#framer.next()
      if (piece !== null) return piece
      if (this.#closed) throw new Error('connection closed')
      await new Promise<void>((resolve) => {
        this.#waiting = resolve
      })
    }
  }
}
