/**
 * Mail clients that are always busy, for the restart bench and test: SMTP senders, IMAP readers, IMAP idlers, all over
 * TLS. They note whatever a restart did to them. They are polite as real ones are: after a goodbye they come back, and
 * a mail without a final reply is sent again.
 */
import { connect, type TLSSocket } from 'node:tls'

/** What the clients saw, all together. */
export interface Seen {
  /** The connection was not taken. */
  refused: number
  /** Taken, but no word came, or no answer to a command, for as long as `PATIENCE_MS`. */
  hung: number
  /** Closed without `421` or `* BYE`. */
  cut: number
  /** Proper goodbyes: the restarts, as clients may see them. */
  goodbyes: number
  connections: number
  commands: number
  /** Message-IDs that got a positive final reply. */
  readonly accepted: Set<string>
  /** Milliseconds from connecting to the greeting. */
  readonly greetings: number[]
  /** Milliseconds of cheap commands (NOOP, RSET): what a pause would show in. */
  readonly answers: number[]
  /** Of both: what it was, and when it was over (performance.now). */
  longest: { readonly ms: number; readonly what: string; readonly atMs: number }
  /** The first few of what should not be, for people. */
  readonly complaints: string[]
}

export function nothingSeen(): Seen {
  return {
    refused: 0,
    hung: 0,
    cut: 0,
    goodbyes: 0,
    connections: 0,
    commands: 0,
    accepted: new Set(),
    greetings: [],
    answers: [],
    longest: { ms: 0, what: 'nothing', atMs: 0 },
    complaints: [],
  }
}

export interface Login {
  readonly user: string
  readonly pass: string
}

export interface LoadOptions {
  readonly submissionsPort: number
  readonly imapsPort: number
  readonly ca: string
  /** Clients take them in turn. An account's user is also its address. */
  readonly accounts: readonly Login[]
  readonly to: string
  readonly senders: number
  readonly readers: number
  readonly idlers: number
  /** Between two commands of one client. */
  readonly thinkMs: number
}

const PATIENCE_MS = 30_000
/** After anything but a goodbye: what keeps failing must not become a storm. */
const AFTER_FAILURE_MS = 1000

class Gone extends Error {
  readonly isGoodbye: boolean

  constructor(why: string, isGoodbye: boolean) {
    super(why)
    this.isGoodbye = isGoodbye
  }
}

/** A connection that is read line by line; literals of IMAP are just more lines to it. */
class Line {
  readonly #socket: TLSSocket
  readonly #lines: string[] = []
  #rest = ''
  /** The last command. */
  #asked = 'connecting'
  #failure: Gone | null = null
  #wake: () => void = () => {}
  /** Set when a goodbye was read: what follows is no cut. */
  #goodbye = false

  private constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      const lines = (this.#rest + text).split('\r\n')
      this.#rest = lines.pop() ?? ''
      this.#lines.push(...lines)
      if (lines.some((line) => line.startsWith('421 ') || line.startsWith('* BYE'))) this.#goodbye = true
      this.#wake()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => this.#gone(error.code ?? 'error'))
    socket.on('close', () => this.#gone('closed'))
  }

  /** @throws Gone with what the kernel said */
  static open(port: number, ca: string): Promise<Line> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca })
      const line = new Line(socket)
      // The greeting is awaited by the caller; a handshake that does not come is a hang like any other.
      socket.once('secureConnect', () => resolve(line))
      socket.once('error', (error: NodeJS.ErrnoException) => reject(new Gone(error.code ?? error.message, false)))
      socket.setTimeout(PATIENCE_MS, () => reject(new Gone('hung', false)))
    })
  }

  async read(): Promise<string> {
    const until = performance.now() + PATIENCE_MS
    for (;;) {
      const line = this.#lines.shift()
      if (line !== undefined) {
        if (line.startsWith('421 ') || line.startsWith('* BYE')) throw new Gone(line, true)
        return line
      }
      if (this.#failure !== null) throw this.#failure
      const left = until - performance.now()
      if (left <= 0) throw new Gone(`hung after ${this.#asked}`, false)
      await this.#more(left)
    }
  }

  /** Waits for anything to come, for so long; resolves in any case. */
  #more(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, ms))
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Waits without sending; a goodbye is thrown, other lines are dropped. */
  async idle(ms: number): Promise<void> {
    const until = performance.now() + ms
    while (performance.now() < until) {
      if (this.#lines.length > 0) await this.read()
      else if (this.#failure !== null) throw this.#failure
      else await this.#more(until - performance.now())
    }
  }

  write(text: string): void {
    this.#asked = text
      .slice(0, 30)
      .trimEnd()
      .replace(/^AUTH PLAIN.*|LOGIN .*/, 'login')
    this.#socket.write(text, 'latin1')
  }

  close(): void {
    this.#socket.destroy()
  }

  #gone(why: string): void {
    this.#failure ??= new Gone(this.#goodbye ? 'goodbye' : why, this.#goodbye)
    this.#wake()
  }
}

export class Load {
  readonly seen = nothingSeen()
  readonly #options: LoadOptions
  #isOver = false
  #clients: Promise<void>[] = []
  #nextMessage = 1
  #everyoneIn: () => void = () => {}
  readonly #loggedIn = new Set<number>()

  constructor(options: LoadOptions) {
    this.#options = options
  }

  get loggedIn(): number {
    return this.#loggedIn.size
  }

  /** Resolves when every client has logged in once. */
  start(): Promise<void> {
    const { senders, readers, idlers } = this.#options
    const all = new Promise<void>((resolve) => {
      this.#everyoneIn = resolve
    })
    for (let i = 0; i < senders + readers + idlers; i++) {
      const run = i < senders ? this.#sender : i < senders + readers ? this.#reader : this.#idler
      this.#clients.push(this.#again(i, run.bind(this)))
    }
    return all
  }

  /** Waits count from now on: what came before was everyone's login at once. @returns the longest until now */
  forgetWaits(): Seen['longest'] {
    const { longest } = this.seen
    this.seen.greetings.length = 0
    this.seen.answers.length = 0
    this.seen.longest = nothingSeen().longest
    return longest
  }

  /** Clients finish what they are at. */
  async stop(): Promise<Seen> {
    this.#isOver = true
    await Promise.all(this.#clients)
    return this.seen
  }

  /** One client: comes back whenever it was sent away. */
  async #again(client: number, run: (client: number, pending: Pending) => Promise<void>): Promise<void> {
    const pending: Pending = { message: null }
    // Not all in the same millisecond: that would be a bench of handshakes.
    await later(client * 15)
    while (!this.#isOver || pending.message !== null) {
      try {
        await run(client, pending)
      } catch (error) {
        if (!(error instanceof Gone)) throw error
        this.#note(error, client)
        if (!error.isGoodbye) await later(AFTER_FAILURE_MS)
      }
    }
  }

  #note(gone: Gone, client: number): void {
    const { seen } = this
    if (gone.isGoodbye) seen.goodbyes++
    else if (gone.message === 'ECONNREFUSED') seen.refused++
    else if (gone.message.startsWith('hung')) seen.hung++
    else seen.cut++
    if (!gone.isGoodbye && seen.complaints.length < 20) seen.complaints.push(`client ${client}: ${gone.message}`)
  }

  #waited(waits: number[], what: string, begunMs: number): void {
    const atMs = performance.now()
    const ms = atMs - begunMs
    waits.push(ms)
    if (ms > this.seen.longest.ms) this.seen.longest = { ms, what, atMs }
  }

  async #open(port: number): Promise<Line> {
    const begun = performance.now()
    this.seen.connections++
    const line = await Line.open(port, this.#options.ca)
    const greeting = await line.read()
    if (!/^(220 |\* OK)/.test(greeting)) throw new Gone(`greeting ${greeting}`, false)
    this.#waited(this.seen.greetings, port === this.#options.imapsPort ? 'IMAP greeting' : 'SMTP greeting', begun)
    return line
  }

  async #sender(client: number, pending: Pending): Promise<void> {
    const { submissionsPort, to, thinkMs } = this.#options
    const { user: from, pass } = this.#account(client)
    const line = await this.#open(submissionsPort)
    try {
      await this.#smtp(line, `EHLO client${client}`, '250')
      const plain = Buffer.from(`\0${from}\0${pass}`).toString('base64')
      await this.#smtp(line, `AUTH PLAIN ${plain}`, '235')
      this.#isIn(client)
      while (!this.#isOver || pending.message !== null) {
        pending.message ??= `restart-${process.pid}-${client}-${this.#nextMessage++}@bench.test`
        await this.#timed('RSET', () => this.#smtp(line, 'RSET', '250'))
        await this.#smtp(line, `MAIL FROM:<${from}>`, '250')
        await this.#smtp(line, `RCPT TO:<${to}>`, '250')
        await this.#smtp(line, 'DATA', '354')
        await later(thinkMs / 2)
        await this.#smtp(line, `${mail(from, to, pending.message)}.`, '250')
        this.seen.accepted.add(pending.message)
        pending.message = null
        await line.idle(thinkMs)
      }
    } finally {
      line.close()
    }
  }

  async #reader(client: number): Promise<void> {
    const line = await this.#login(client)
    try {
      for (let n = 1; !this.#isOver; n++) {
        await this.#imap(line, `f${n}`, 'UID FETCH 1:3 (FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)')
        await this.#imap(line, `b${n}`, 'UID FETCH 1 BODY.PEEK[]')
        await this.#timed('NOOP', () => this.#imap(line, `n${n}`, 'NOOP'))
        await line.idle(this.#options.thinkMs)
      }
    } finally {
      line.close()
    }
  }

  async #idler(client: number): Promise<void> {
    const line = await this.#login(client)
    try {
      for (let n = 1; !this.#isOver; n++) {
        line.write(`i${n} IDLE\r\n`)
        while (!(await line.read()).startsWith('+')) this.seen.commands++
        await line.idle(this.#options.thinkMs * 5)
        await this.#timed('DONE', () => this.#imap(line, `i${n}`, 'DONE', ''))
      }
    } finally {
      line.close()
    }
  }

  async #login(client: number): Promise<Line> {
    const { user, pass } = this.#account(client)
    const line = await this.#open(this.#options.imapsPort)
    await this.#imap(line, 'l', `LOGIN "${user}" "${pass}"`)
    await this.#imap(line, 's', 'SELECT INBOX')
    this.#isIn(client)
    return line
  }

  #account(client: number): Login {
    const { accounts } = this.#options
    return accounts[client % accounts.length]!
  }

  #isIn(client: number): void {
    this.#loggedIn.add(client)
    if (this.#loggedIn.size === this.#clients.length) this.#everyoneIn()
  }

  async #smtp(line: Line, command: string, code: string): Promise<void> {
    this.seen.commands++
    line.write(`${command}\r\n`)
    let reply = await line.read()
    while (reply[3] === '-') reply = await line.read()
    if (!reply.startsWith(code)) throw new Gone(`${command.slice(0, 20)}: ${reply}`, false)
  }

  async #imap(line: Line, tag: string, command: string, prefix = `${tag} `): Promise<void> {
    this.seen.commands++
    line.write(`${prefix}${command}\r\n`)
    for (;;) {
      const answer = await line.read()
      if (answer.startsWith(`${tag} OK`)) return
      if (answer.startsWith(`${tag} `)) throw new Gone(`${command.slice(0, 20)}: ${answer}`, false)
    }
  }

  async #timed(what: string, run: () => Promise<void>): Promise<void> {
    const begun = performance.now()
    await run()
    this.#waited(this.seen.answers, what, begun)
  }
}

/** The mail that a sender has not had a final reply for. */
interface Pending {
  message: string | null
}

function mail(from: string, to: string, id: string): string {
  return [
    `From: <${from}>`,
    `To: <${to}>`,
    `Message-ID: <${id}>`,
    'Subject: a mail that must arrive once',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    'Not lost, not doubled.',
    '',
  ].join('\r\n')
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
