/**
 * A counting relay between the gateway and the provider: what the gateway itself pays at the provider for the answers
 * it gives. Octets are of TCP (TLS included); a round trip is a change from answers to commands.
 */
import { connect, createServer, type Server, type Socket } from 'node:net'

export class CountingRelay {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  octetsUp = 0
  octetsDown = 0
  roundTrips = 0

  private constructor(host: string, port: number) {
    this.#server = createServer({ noDelay: true }, (gateway) =>
      this.#serve(gateway, connect({ host, port, noDelay: true })),
    )
  }

  static async start(host: string, port: number): Promise<CountingRelay> {
    const relay = new CountingRelay(host, port)
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('error', reject).listen(0, '127.0.0.1', resolve)
    })
    return relay
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #serve(gateway: Socket, provider: Socket): void {
    let waiting = false
    this.#pass(gateway, provider, (octets) => {
      this.octetsUp += octets
      if (!waiting) this.roundTrips++
      waiting = true
    })
    this.#pass(provider, gateway, (octets) => {
      this.octetsDown += octets
      waiting = false
    })
  }

  #pass(from: Socket, to: Socket, count: (octets: number) => void): void {
    this.#sockets.add(from)
    from.on('data', (bytes) => {
      count(bytes.length)
      if (!to.write(bytes)) {
        from.pause()
        to.once('drain', () => from.resume())
      }
    })
    // The session that ends is the gateway's business; here both halves just go.
    from.on('error', () => to.destroy())
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroySoon()
    })
  }
}
