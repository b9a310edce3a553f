/**
 * One side of a session: a socket that is read only when told, written with its own back-pressure, upgraded to TLS
 * in place, and closed so that the last words arrive.
 */
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** Closing with unread octets resets the connection and may destroy a BYE: input is discarded that long (daemon.md §4). */
const DISCARD_MS = 2000
/** What a client that stopped reading gets for taking our last octets. */
const FLUSH_MS = 10_000
/** Output one side may have waiting before we stop reading *that* side: stops who asks without ever reading answers. */
const OWN_OUTPUT_OCTETS = 1024 * 1024

export interface WireEvents {
  bytes(bytes: Buffer): void
  /** Once: end of input or an error. Never while an upgrade is under way: that has its own failure. */
  gone(error: Error | null): void
  /** Output that was full has drained. */
  writable(): void
}

export class Wire {
  #socket: Socket
  readonly #events: WireEvents
  #state: 'open' | 'upgrading' | 'finishing' | 'closed' = 'open'
  #ended = false
  #goneTold = false
  receivedOctets = 0
  sentOctets = 0

  constructor(socket: Socket, events: WireEvents) {
    this.#socket = socket
    this.#events = events
    socket.pause()
    socket.allowHalfOpen = true
    socket.setNoDelay(true)
    this.#listen(socket)
  }

  /** More written than the other end takes for now: whoever feeds this side should stop. */
  get full(): boolean {
    return this.#socket.writableLength >= this.#socket.writableHighWaterMark
  }

  get overfull(): boolean {
    return this.#socket.writableLength > OWN_OUTPUT_OCTETS
  }

  /** Octets that wait in memory for the other end to take them. */
  get waitingOctets(): number {
    return this.#socket.writableLength
  }

  /** Starts or stops `bytes` events; takes effect at once. */
  read(on: boolean): void {
    if (this.#state !== 'open' || this.#ended) return
    if (on && this.#socket.isPaused()) this.#socket.resume()
    else if (!on && !this.#socket.isPaused()) this.#socket.pause()
  }

  /** The buffer is given away. Dropped unless the wire is open: during a handshake a word in plaintext would be a leak. */
  write(bytes: Buffer): void {
    if (this.#state !== 'open' || !this.#socket.writable) return
    this.sentOctets += bytes.length
    this.#socket.write(bytes)
  }

  /** Between the two, writes are collected and leave in one piece. */
  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  /**
   * Puts TLS on the connection. What was written before leaves in plaintext first. Octets that have arrived but were
   * not yet given out belong to the handshake: plaintext smuggled in there makes it fail.
   * @param handshake takes the plain socket, settles when TLS stands or failed
   */
  async upgrade(handshake: (plain: Socket) => Promise<TLSSocket>): Promise<TLSSocket> {
    const plain = this.#socket
    this.#state = 'upgrading'
    plain.pause()
    plain.removeAllListeners('data')
    try {
      await flushed(plain)
      const secured = await handshake(plain)
      secured.pause()
      plain.removeAllListeners('end').removeAllListeners('close').removeAllListeners('drain')
      this.#socket = secured
      // abort() or finish() may have come meanwhile.
      if ((this.#state as string) !== 'upgrading') {
        secured.on('error', () => {}).destroy()
        throw new Error('closed during the handshake')
      }
      this.#state = 'open'
      this.#listen(secured)
      return secured
    } catch (error) {
      this.abort()
      throw error
    }
  }

  /** Says goodbye: flushes, half-closes, discards input for a moment, closes. Resolves when the socket is gone. */
  finish(): Promise<void> {
    const socket = this.#socket
    if (this.#state !== 'open') this.abort()
    if (socket.closed) return Promise.resolve()
    this.#state = 'finishing'
    return new Promise((resolve) => {
      let timer = setTimeout(() => socket.destroy(), FLUSH_MS)
      socket.once('finish', () => {
        clearTimeout(timer)
        if (this.#ended) socket.destroy()
        else timer = setTimeout(() => socket.destroy(), DISCARD_MS)
      })
      socket.once('end', () => {
        if (socket.writableFinished) socket.destroy()
      })
      socket.once('close', () => {
        clearTimeout(timer)
        this.#state = 'closed'
        resolve()
      })
      // Destroyed already: 'close' is on its way.
      if (socket.destroyed) return
      socket.end()
      socket.resume()
    })
  }

  /** Closes at once; what was not sent is dropped. */
  abort(): void {
    this.#state = 'closed'
    this.#socket.destroy()
  }

  #listen(socket: Socket): void {
    socket.on('data', (bytes: Buffer) => {
      if (this.#state !== 'open') return
      this.receivedOctets += bytes.length
      this.#events.bytes(bytes)
    })
    socket.on('end', () => {
      this.#ended = true
      this.#gone(null)
    })
    socket.on('error', (error) => this.#gone(error))
    // Only a TLS socket that no tls.Server looks after reports errors this way.
    socket.on('_tlsError', (error: Error) => socket.destroy(error))
    socket.on('close', () => this.#gone(null))
    socket.on('drain', () => {
      if (this.#state === 'open') this.#events.writable()
    })
  }

  #gone(error: Error | null): void {
    if (this.#goneTold || this.#state !== 'open') return
    this.#goneTold = true
    this.#events.gone(error)
  }
}

/** Resolves when nothing waits in the stream: the octets are with the kernel, or at least in order before TLS's. */
function flushed(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) return reject(new Error('connection closed'))
    if (socket.writableLength === 0) return resolve()
    const closed = (): void => reject(new Error('connection closed'))
    socket.once('close', closed)
    socket.write('', () => {
      socket.removeListener('close', closed)
      resolve()
    })
  })
}
