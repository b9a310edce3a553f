/**
 * One client's HTTP connection, in front of uWebSockets.js: each request is framed here first (`http-request-framer.ts`)
 * and goes on whole, one at a time, through a private UNIX socket that is opened when it is needed. So borders between
 * requests, time limits and what a WebSocket may pile up are decided here, and not by the server's own rules, which
 * cannot be set (10 s without a word, no pipelining, the first of two Content-Length counts).
 *
 * Not here: what a request means, and who may come in.
 */
import { connect, type Socket } from 'node:net'
import { type FramerLimits, RequestFramer, type WholeRequest } from './http-request-framer.ts'
import { printProxyV2 } from './relay.ts'
import type { UploadPace } from './upload-pace.ts'
import { WebSocketSlicer } from './websocket-slicer.ts'
import { releaseFrame, WebSocketWeaver } from './websocket-weaver.ts'

export interface FrontOptions {
  /** TLS on it where the listener has it. */
  readonly client: Socket
  readonly unixPath: string
  /** IPv4; names the connection to the server behind. */
  readonly address: string
  readonly limits: FramerLimits
  /** Without a word either way. */
  readonly idleMs: number
  /** From a request's first octet to its last, unless it is streamed: who sends an octet at a time is never idle. */
  readonly requestMs: number
  /** Judges a streamed one from its begin on. */
  readonly pace: () => UploadPace
  /** The whole answer to a GET of this path where it is known beforehand: it need not go through the server. */
  readonly ready: (path: string) => Buffer | null
  /**
   * The whole answer to a POST to `/` with this body, at once or later. null: the server has to be asked. Never rejects.
   * It says `Connection: close` where {@link HttpFront.isLast} holds.
   */
  readonly posted: (body: Buffer) => Promise<Buffer | null> | Buffer | null
}

/** What the server behind has to answer in place of the request. The connection ends with it. */
export interface Refusal {
  readonly status: number
  readonly text: string
}

type Phase = 'reading' | 'streaming' | 'answering' | 'deciding' | 'tunnel' | 'closing'

/** Any request will do: the handler sees {@link HttpFront.refusal}. */
const REFUSED_REQUEST = Buffer.from('GET / HTTP/1.1\r\nhost: refused\r\n\r\n')
/** Closing with unread octets resets the connection and may destroy the answer: input is discarded that long. */
const DISCARD_MS = 2000
/** A tunnel's octets on their way to the proxy before the browser is not read any more: here, in the server, or there. */
const MAX_UNDER_WAY_OCTETS = 64 * 1024
/** So long and so often nothing comes from the server before its last answer is taken for whole. */
const QUIET_MS = 100
const QUIET_TURNS = 5
/** Octets for a client that reads slowly before the server is not read any more. */
const MAX_CLIENT_OCTETS = 16 * 1024
/** Idle times that a reader may take nothing: on a slow line the kernel asks for more only when much of its own is gone. */
const READER_PATIENCE = 3
/** Beats without a sign of life from a tunnel's client before it is gone: on a slow line much may lie before a ping. */
const MAX_SILENT_BEATS = 4
/** All connections read from behind into this one, one after the other: what came is copied out at once. */
const READ_BUFFER = Buffer.allocUnsafe(64 * 1024)

export class HttpFront {
  /** Settles when the connection is over; never rejects. */
  readonly ended: Promise<void>
  readonly #options: FrontOptions
  readonly #client: Socket
  readonly #framer: RequestFramer
  readonly #slicer = new WebSocketSlicer()
  /** Of a tunnel; null: the server was asked before, and which octets are its answer to the upgrade cannot be told. */
  #weaver: WebSocketWeaver | null = null
  #drained: () => void = () => {}
  #phase: Phase = 'reading'
  #inner: Socket | null = null
  /** The answer under way is the last one. */
  #closes = false
  #draining = false
  /** The server has given its whole answer: what lies between is taken at once, since it does not wait for long. */
  #isGiven = false
  /** Of the request that is streamed. */
  #pace: UploadPace | null = null
  #stillPeriods = 0
  /** Of a tunnel's client since the last beat: it sent something, or took what waited for it, or its octets were taken. */
  #isAlive = true
  #isAwaited = false
  #silentBeats = 0
  #takenOctets = 0
  /** Requests are here, answers are not taken. */
  #waiting = false
  #clientEnded = false
  #requestBegunMs = 0
  refusal: Refusal | null = null

  constructor(options: FrontOptions) {
    this.#options = options
    this.#framer = new RequestFramer(options.limits)
    const client = options.client
    this.#client = client
    this.ended = new Promise((resolve) => {
      client.once('close', () => {
        this.#phase = 'closing'
        this.#pace?.end()
        this.#inner?.destroy()
        resolve()
      })
      if (client.closed) resolve()
    })
    client.on('error', () => client.destroy())
    client.on('data', (octets: Buffer) => this.#fromClient(octets))
    client.on('end', () => this.#endOfClient())
    client.on('timeout', () => this.#idle())
    client.setTimeout(options.idleMs)
    client.resume()
  }

  /** Octets in our memory, either way. */
  get heldOctets(): number {
    const inner = this.#inner
    const between = inner === null ? 0 : inner.readableLength + inner.writableLength
    return this.#framer.heldOctets + this.#client.readableLength + this.waitingOctets + between
  }

  /** No request may follow the one that is being answered: its answer should close the connection. */
  get isLast(): boolean {
    return this.#draining || this.#closes || (this.#clientEnded && !this.#framer.isInside)
  }

  /**
   * The server has given its whole answer, whose octets may still be under way: the next request may come.
   * @param closes the server ends the connection behind it
   */
  answered(closes: boolean): void {
    if (this.#phase === 'closing' || this.#phase === 'tunnel') return
    this.#isGiven = true
    this.#inner?.resume()
    if (closes || this.#phase === 'streaming') {
      this.#phase = 'closing'
      this.#client.pause()
      return
    }
    this.#phase = 'reading'
    this.#requestBegunMs = performance.now()
    this.#client.resume()
    this.#pump()
    if (this.#clientEnded) this.#untilQuiet()
  }

  /**
   * The upgrade is taken: octets from now on are frames.
   * @param drained told when the browser has taken most of what {@link send} was given
   */
  tunnelled(drained: () => void): void {
    if (this.#phase !== 'deciding') return
    this.#phase = 'tunnel'
    this.#drained = drained
    // A tunnel may be silent for as long as its proxy lets it be.
    this.#client.setTimeout(0)
    const early = this.#framer.rest()
    if (early.length > 0) this.#frames(early)
    this.#client.resume()
  }

  /** One message to the tunnel's browser, past the server behind. @returns false: it has to go through that one */
  send(octets: Buffer): boolean {
    if (this.#weaver === null) return false
    if (this.#phase !== 'tunnel') return true
    for (const frame of this.#weaver.frame(octets)) {
      this.#client.write(frame, () => {
        releaseFrame(frame)
        this.#written()
      })
    }
    return true
  }

  /** Octets for the client that it has not taken yet. */
  get waitingOctets(): number {
    return this.#client.writableLength + (this.#weaver?.waitingOctets ?? 0)
  }

  /** The proxy has taken so many octets of the tunnel's. */
  taken(octets: number): void {
    this.#takenOctets += octets
    if (octets > 0) this.#isAlive = true
    if (this.#phase === 'tunnel' && this.#underWay <= MAX_UNDER_WAY_OCTETS / 2) this.#client.resume()
  }

  /**
   * Comes to a tunnel every so often. A client that we hold back shows no sign of life, nor that it is gone: what its proxy
   * takes counts for it, and a proxy that takes nothing for so long loses it.
   * @returns true: there was no sign of life since the last one, and it should be pinged
   */
  beat(): boolean {
    if (this.#phase !== 'tunnel') return false
    const isAlive = this.#isAlive
    this.#silentBeats = isAlive ? 0 : this.#silentBeats + 1
    this.#isAlive = false
    this.#isAwaited = this.#client.writableLength > 0
    if (this.#silentBeats > MAX_SILENT_BEATS) this.#client.destroy()
    return !isAlive
  }

  get #underWay(): number {
    return this.#slicer.payloadOctets - this.#takenOctets
  }

  /**
   * Ends at rest, or with the next answer; a tunnel is left alone. While the server behind is connected octets of its last
   * answer may be under way, so it is left to hang up, which it does within seconds.
   */
  drain(): void {
    this.#draining = true
    if (this.#phase === 'reading') this.#rest()
  }

  #rest(): void {
    if (this.#inner === null && !this.#framer.isInside) this.#finish()
  }

  #fromClient(octets: Buffer): void {
    switch (this.#phase) {
      case 'reading':
        if (!this.#framer.isInside) this.#requestBegunMs = performance.now()
        this.#framer.push(octets)
        this.#pump()
        break
      case 'streaming':
        this.#framer.push(octets)
        if (this.#pace?.took(octets.length) === false) this.#refuse(408, 'Too slow')
        else this.#pump()
        break
      case 'answering':
      case 'deciding':
        // The next request, or frames sent too early: they wait, and so does who sends them.
        this.#framer.push(octets)
        this.#client.pause()
        break
      case 'tunnel':
        this.#isAlive = true
        this.#frames(octets)
        break
      case 'closing':
        break
    }
  }

  #pump(): void {
    while (this.#phase === 'reading' || this.#phase === 'streaming') {
      if (this.#phase === 'reading' && this.#client.writableLength > MAX_CLIENT_OCTETS) {
        // Who asks and asks without reading answers waits.
        this.#waiting = true
        this.#client.pause()
        return
      }
      const piece = this.#framer.next()
      if (piece === null) {
        const isLate = performance.now() - this.#requestBegunMs > this.#options.requestMs
        if (this.#phase === 'reading' && this.#framer.isInside && isLate) this.#refuse(408, 'Timeout')
        return
      }
      switch (piece.on) {
        case 'request':
        case 'begin':
          if (piece.on === 'request' && this.#answeredHere(piece)) {
            // What lies behind it came with the last octets.
            this.#requestBegunMs = performance.now()
            break
          }
          this.#phase = piece.on === 'begin' ? 'streaming' : 'answering'
          if (piece.on === 'begin') this.#pace = this.#options.pace()
          this.#closes = piece.closes
          this.#toServer(piece.octets)
          break
        case 'body':
          this.#toServer(piece.octets)
          break
        case 'end':
          this.#phase = 'answering'
          this.#pace?.end()
          if (piece.octets.length > 0) this.#toServer(piece.octets)
          break
        case 'upgrade':
          this.#phase = 'deciding'
          if (this.#inner === null) this.#weaver = new WebSocketWeaver()
          this.#toServer(piece.octets)
          break
        case 'refuse':
          this.#refuse(piece.status, piece.text)
          return
      }
    }
  }

  /** Not where the server was asked before: its octets may still be on their way, and come first. */
  #answeredHere(request: WholeRequest): boolean {
    const { path, post, closes } = request
    if (closes || this.#draining || this.#clientEnded || this.#inner !== null) return false
    if (post !== null) {
      const answer = this.#options.posted(post)
      if (answer === null) return false
      if (Buffer.isBuffer(answer)) {
        this.#client.write(answer, this.#written)
        return true
      }
      this.#phase = 'answering'
      this.#closes = false
      void answer.then((known) => this.#posted(known, request))
      return true
    }
    if (path === null) return false
    const answer = this.#options.ready(path)
    if (answer !== null) this.#client.write(answer, this.#written)
    return answer !== null
  }

  #posted(answer: Buffer | null, request: WholeRequest): void {
    // The client may be gone.
    if (this.#phase !== 'answering') return
    if (answer === null) {
      this.#toServer(request.octets)
      return
    }
    this.#client.write(answer, this.#written)
    if (this.isLast) this.#finish()
    else this.answered(false)
  }

  /** Also in the middle of an upload: no octet of an answer has come, whose work ends with the connection to it. */
  #refuse(status: number, text: string): void {
    const inner = this.#phase === 'streaming' ? this.#inner : null
    if (inner !== null) {
      this.#inner = null
      inner.destroy()
      this.#pace?.end()
    }
    this.refusal = { status, text }
    this.#phase = 'answering'
    this.#closes = true
    this.#toServer(REFUSED_REQUEST)
  }

  #frames(octets: Buffer): void {
    const inner = this.#inner
    if (inner === null) return
    inner.cork()
    for (const frame of this.#slicer.push(octets)) inner.write(frame)
    inner.uncork()
    // Control frames are answered, not taken: they count by what of them waits here.
    if (this.#underWay > MAX_UNDER_WAY_OCTETS || inner.writableNeedDrain) this.#client.pause()
  }

  #toServer(octets: Buffer): void {
    this.#isGiven = false
    this.#inner ??= this.#connect()
    if (this.#inner.write(octets)) return
    this.#client.pause()
    this.#pace?.hold()
  }

  #connect(): Socket {
    const { unixPath, address } = this.#options
    const inner: Socket = connect({
      path: unixPath,
      allowHalfOpen: true,
      onread: { buffer: READ_BUFFER, callback: (octets, buffer): boolean => this.#fromServer(inner, octets, buffer) },
    })
    inner.write(printProxyV2({ address, port: 0 }, { address: '0.0.0.0', port: 0 }))
    inner.on('error', () => inner.destroy())
    inner.on('drain', () => {
      if (inner !== this.#inner) return
      this.#pace?.go()
      if (this.#phase === 'tunnel') this.taken(0)
      else if (this.#phase === 'streaming' || this.#phase === 'reading') this.#client.resume()
    })
    inner.on('end', () => inner.destroy())
    inner.on('close', () => this.#serverGone(inner))
    return inner
  }

  /** Ours only until it returns. @returns false: no more for now */
  #fromServer(inner: Socket, octets: number, buffer: Uint8Array): boolean {
    if (inner !== this.#inner) return false
    const copy = Buffer.from(buffer.subarray(0, octets))
    if (this.#weaver === null) this.#client.write(copy, this.#written)
    else for (const piece of this.#weaver.push(copy)) this.#client.write(piece, this.#written)
    if (this.#isGiven || this.#client.writableLength <= MAX_CLIENT_OCTETS) return true
    inner.pause()
    return false
  }

  #serverGone(inner: Socket): void {
    if (inner !== this.#inner) return
    this.#inner = null
    switch (this.#phase) {
      case 'reading':
        // It waited for a next request long enough. We wait longer.
        if (this.#draining || this.#clientEnded) this.#rest()
        break
      case 'closing':
      case 'tunnel':
        this.#finish()
        break
      case 'streaming':
      case 'answering':
      case 'deciding':
        // Cut short: an end would look like one.
        this.#client.destroy()
        break
    }
  }

  #endOfClient(): void {
    this.#clientEnded = true
    if (this.#phase === 'tunnel') this.#inner?.end()
    else if (this.#phase === 'streaming') this.#client.destroy()
    else if (this.#phase === 'reading' && this.#framer.isInside) this.#finish()
    else if (this.#phase === 'reading') {
      this.#rest()
      this.#untilQuiet()
    }
  }

  /**
   * The client has ended, and octets of its last answer may be under way. The server hangs up behind them, but 10 s later,
   * for which the places of an address are too few: whoever asks once a connection would use them up.
   */
  #untilQuiet(quiet = 0): void {
    const inner = this.#inner
    if (inner === null || this.#phase !== 'reading') return
    if (quiet >= QUIET_TURNS) {
      this.#finish()
      return
    }
    const read = inner.bytesRead
    setTimeout(() => this.#untilQuiet(inner.bytesRead === read ? quiet + 1 : 0), QUIET_MS)
  }

  #idle(): void {
    switch (this.#phase) {
      case 'reading':
        if (this.#client.writableLength > 0) {
          if (this.#isStill()) this.#client.destroy()
        } else if (this.#framer.isInside) this.#refuse(408, 'Timeout')
        else this.#finish()
        break
      case 'streaming':
        // Held back by us, or is the client silent?
        if (this.#client.isPaused()) this.#client.setTimeout(this.#options.idleMs)
        else this.#refuse(408, 'Timeout')
        break
      case 'answering':
      case 'deciding':
        // We are at work: each of our steps has a limit of its own. Or the client does not read.
        if (this.#isStill()) this.#client.destroy()
        break
      case 'closing':
        if (this.#client.writableLength === 0 || this.#isStill()) this.#client.destroy()
        break
      case 'tunnel':
        this.#client.destroy()
        break
    }
  }

  /** Has the client let octets lie for too long? If not, the next period begins. */
  #isStill(): boolean {
    this.#stillPeriods = this.#client.writableLength === 0 ? 0 : this.#stillPeriods + 1
    if (this.#stillPeriods >= READER_PATIENCE) return true
    this.#client.setTimeout(this.#options.idleMs)
    return false
  }

  /** Says goodbye: the last octets leave, input is discarded for a moment. */
  #finish(): void {
    this.#phase = 'closing'
    this.#inner?.destroy()
    const client = this.#client
    if (client.destroyed) return
    // Not read until all is flushed: what came would count as a sign of life from who takes nothing.
    client.pause()
    client.setTimeout(this.#options.idleMs)
    client.once('finish', () => {
      if (this.#clientEnded) return client.destroy()
      const timer = setTimeout(() => client.destroy(), DISCARD_MS)
      client.once('close', () => clearTimeout(timer))
      client.once('end', () => client.destroy())
      client.resume()
    })
    client.end()
  }

  readonly #written = (): void => {
    if (this.#phase === 'tunnel') this.#drained()
    this.#stillPeriods = 0
    if (this.#isAwaited) this.#isAlive = true
    if (this.#client.writableLength > MAX_CLIENT_OCTETS / 2) return
    this.#inner?.resume()
    if (!this.#waiting) return
    this.#waiting = false
    // Of the next request no more could come.
    this.#requestBegunMs = performance.now()
    this.#client.resume()
    this.#pump()
  }
}
