/** Mail clients for the bench: each on one connection, one command after the other, as mail programs do. */
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'

export interface Target {
  readonly port: number
  readonly user: string
  readonly password: string
}

export interface Measured {
  readonly messages: number
  readonly seconds: number
  /** Milliseconds from each command (the message itself too) to its reply, of the first client. */
  readonly commandMs: readonly number[]
  readonly messageMs: readonly number[]
}

/** @param message ends with CRLF, dots stuffed */
export async function load(target: Target, connections: number, message: Buffer, forMs: number): Promise<Measured> {
  const clients = await Promise.all(Array.from({ length: connections }, () => Client.open(target)))
  const begunMs = performance.now()
  const untilMs = begunMs + forMs
  let messages = 0
  const messageMs: number[] = []
  await Promise.all(
    clients.map(async (client) => {
      do {
        const startMs = performance.now()
        await client.send(message)
        messageMs.push(performance.now() - startMs)
        messages++
      } while (performance.now() < untilMs)
    }),
  )
  const seconds = (performance.now() - begunMs) / 1000
  const commandMs = clients[0]!.commandMs
  for (const client of clients) client.close()
  return { messages, seconds, commandMs, messageMs }
}

/** A message of about that many octets: text of mixed words, so that nothing can be guessed from repetition. */
export function messageOf(octets: number): Buffer {
  const head = `From: alice@bench.test\r\nTo: bob@bench.test\r\nSubject: bench\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n`
  const lines: string[] = []
  let length = head.length
  for (let n = 1; length < octets; n++) {
    const line = `${(n * 2654435761) % 4294967291} ${'abcdefghijklmnopqrstuvwxyz'.repeat(2)} ${n}\r\n`
    lines.push(line)
    length += line.length
  }
  return Buffer.from(head + lines.join(''))
}

const END = Buffer.from('.\r\n')

class Client {
  readonly commandMs: number[] = []
  readonly #socket: Socket
  #text = ''
  #heard: (reply: string) => void = () => {}
  #failed: (error: Error) => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1')
      if (!/^\d{3} .*\r\n$/m.test(this.#text)) return
      const reply = this.#text
      this.#text = ''
      this.#heard(reply)
    })
    socket.on('error', (error) => this.#failed(error))
    socket.on('close', () => this.#failed(new Error(`connection closed: ${this.#text}`)))
  }

  static async open({ port, user, password }: Target): Promise<Client> {
    const client = new Client(connect({ port, host: '127.0.0.1' }))
    await client.#expect('220')
    await client.#say('EHLO bench.test\r\n', '250')
    await client.#say(`AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString('base64')}\r\n`, '235')
    return client
  }

  async send(message: Buffer): Promise<void> {
    await this.#say('MAIL FROM:<alice@bench.test>\r\n', '250')
    await this.#say('RCPT TO:<bob@bench.test>\r\n', '250')
    await this.#say('DATA\r\n', '354')
    this.#socket.cork()
    this.#socket.write(message)
    await this.#say(END, '250')
  }

  close(): void {
    this.#failed = () => {}
    this.#socket.destroy()
  }

  async #say(octets: string | Buffer, code: string): Promise<void> {
    const begunMs = performance.now()
    this.#socket.write(octets)
    this.#socket.uncork()
    await this.#expect(code)
    this.commandMs.push(performance.now() - begunMs)
  }

  async #expect(code: string): Promise<void> {
    const reply = await new Promise<string>((resolve, reject) => {
      this.#heard = resolve
      this.#failed = reject
    })
    if (!reply.startsWith(code)) throw new Error(`wanted ${code}, got ${reply}`)
  }
}
