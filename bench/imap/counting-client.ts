/** An IMAP client that throws away what it gets: as little of the measurement as possible is its own. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { setFlagsFromString } from 'node:v8'
import type { Address } from '../../scripts/oracle/imap-connection.ts'

// As our workers do: else collecting garbage takes more of the client's time than reading.
setFlagsFromString('--external-memory-accounted-in-global-limit')

/** More than any tagged line here. */
const TAIL_OCTETS = 3000

export class CountingClient {
  #socket: Socket
  #tail = ''
  #octets = 0
  #tag = 0
  #wanted: RegExp | null = null
  #answered: (line: string) => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#listen(socket)
  }

  static async open({ host, port, user, password }: Address): Promise<CountingClient> {
    const socket = connect({ host, port, noDelay: true })
    await once(socket, 'connect')
    const client = new CountingClient(socket)
    const greeting = await client.#until(/^(\* OK .*)\r\n$/)
    if (greeting.includes('STARTTLS')) {
      await client.command('STARTTLS')
      socket.removeAllListeners('data')
      client.#socket = connectTls({ socket, rejectUnauthorized: false })
      await once(client.#socket, 'secureConnect')
      client.#listen(client.#socket)
    }
    await client.command(`LOGIN "${user}" "${password}"`)
    return client
  }

  /** @returns octets of the answer @throws Error when it is not OK */
  async command(...parts: readonly (string | Buffer)[]): Promise<number> {
    const tag = `T${++this.#tag}`
    this.#octets = 0
    this.#tail = ''
    this.#socket.cork()
    for (const part of [`${tag} `, ...parts, '\r\n']) this.#socket.write(part)
    this.#socket.uncork()
    const line = await this.#until(new RegExp(`(?:^|\n)(${tag} .*)\r\n$`))
    if (!line.startsWith(`${tag} OK`)) throw new Error(line.slice(0, 200))
    return this.#octets
  }

  close(): void {
    this.#socket.destroy()
  }

  #until(pattern: RegExp): Promise<string> {
    this.#wanted = pattern
    return new Promise((resolve) => {
      this.#answered = resolve
      this.#look()
    })
  }

  #listen(socket: Socket): void {
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      this.#octets += bytes.length
      const more = bytes.toString('latin1', Math.max(0, bytes.length - TAIL_OCTETS))
      this.#tail = (bytes.length >= TAIL_OCTETS ? more : this.#tail + more).slice(-TAIL_OCTETS)
      this.#look()
    })
  }

  #look(): void {
    const line = this.#wanted?.exec(this.#tail)?.[1]
    if (line === undefined) return
    this.#wanted = null
    this.#answered(line)
  }
}
