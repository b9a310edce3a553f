/** Mail clients for the bench: each on one connection, one command after the other, as mail programs do. */
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'

export interface Target {
  readonly port: number
  readonly user: string
  readonly password: string
  /** Recipient. */
  readonly to: string
}

/** What is waited for: the replies of a transaction, the last one to the whole message. */
export const COMMANDS = ['mail', 'rcpt', 'data', 'dot'] as const
export type CommandName = (typeof COMMANDS)[number]

export interface Measured {
  readonly messages: number
  readonly seconds: number
  /** Milliseconds from each command to its reply; `dot` begins with the message's first octet. */
  readonly commandMs: Readonly<Record<CommandName, readonly number[]>>
  readonly messageMs: readonly number[]
}

/**
 * Messages for `forMs`; those begun by then are finished, but not for longer than `limitMs`.
 * @param message ends with CRLF, dots stuffed. @throws Error where a reply is wrong, or the time is over
 */
export async function load(
  target: Target,
  connections: number,
  message: Buffer,
  { forMs, limitMs }: { readonly forMs: number; readonly limitMs: number },
): Promise<Measured> {
  const clients: Client[] = []
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs} ms`)), limitMs)
  })
  try {
    const all = Array.from({ length: connections }, () => {
      const client = new Client(target)
      clients.push(client)
      return client
    })
    await Promise.race([late, Promise.all(all.map((client) => client.login(target)))])
    return await Promise.race([late, sendAll(all, message, forMs)])
  } finally {
    clearTimeout(timer)
    for (const client of clients) client.close()
  }
}

async function sendAll(clients: readonly Client[], message: Buffer, forMs: number): Promise<Measured> {
  const begunMs = performance.now()
  const untilMs = begunMs + forMs
  const messageMs: number[] = []
  await Promise.all(
    clients.map(async (client) => {
      do {
        const startMs = performance.now()
        await client.send(message)
        messageMs.push(performance.now() - startMs)
      } while (performance.now() < untilMs)
    }),
  )
  const seconds = (performance.now() - begunMs) / 1000
  const commandMs = { mail: [], rcpt: [], data: [], dot: [] } as Record<CommandName, number[]>
  for (const name of COMMANDS) commandMs[name] = clients.flatMap((client) => client.commandMs[name])
  return { messages: messageMs.length, seconds, commandMs, messageMs }
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
  readonly commandMs: Readonly<Record<CommandName, number[]>> = { mail: [], rcpt: [], data: [], dot: [] }
  readonly #socket: Socket
  readonly #to: string
  #text = ''
  #failure: Error | null = null
  #wake: () => void = () => {}

  constructor({ port, to }: Target) {
    this.#to = to
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1')
      this.#wake()
    })
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error(`connection closed: ${this.#text}`)))
  }

  async login({ user, password }: Target): Promise<void> {
    await this.#expect('220')
    await this.#say('EHLO bench.test\r\n', '250')
    await this.#say(`AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString('base64')}\r\n`, '235')
  }

  async send(message: Buffer): Promise<void> {
    await this.#timed('mail', () => this.#say('MAIL FROM:<alice@bench.test>\r\n', '250'))
    await this.#timed('rcpt', () => this.#say(`RCPT TO:<${this.#to}>\r\n`, '250'))
    await this.#timed('data', () => this.#say('DATA\r\n', '354'))
    await this.#timed('dot', () => {
      this.#socket.cork()
      this.#socket.write(message)
      const said = this.#say(END, '250')
      this.#socket.uncork()
      return said
    })
  }

  close(): void {
    this.#failure ??= new Error('closed')
    this.#socket.destroy()
  }

  async #timed(name: CommandName, run: () => Promise<void>): Promise<void> {
    const begunMs = performance.now()
    await run()
    this.commandMs[name].push(performance.now() - begunMs)
  }

  #say(octets: string | Buffer, code: string): Promise<void> {
    this.#socket.write(octets)
    return this.#expect(code)
  }

  /** A whole reply, which may be here already. */
  async #expect(code: string): Promise<void> {
    while (!/^\d{3} .*\r\n$/m.test(this.#text)) {
      if (this.#failure !== null) throw this.#failure
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const reply = this.#text
    this.#text = ''
    if (!reply.startsWith(code)) throw new Error(`wanted ${code}, got ${reply}`)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#wake()
  }
}
