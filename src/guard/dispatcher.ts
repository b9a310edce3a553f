/**
 * Connections on their way to a worker: which one gets it, which were sent but not yet taken, and which wait because
 * no worker lives (daemon.md §4). It does not know sockets or processes: `Connection` and `send` are the guard's.
 *
 * The rule: a connection belongs to the guard until a worker says that it took it; so none is lost with a worker.
 */

export interface Connection {
  readonly listener: string
  /** Closes the guard's copy: without a word to the client where a worker has the connection. */
  close(): void
  /** The client has gone. */
  readonly gone: boolean
}

export interface DispatcherPorts {
  /** @returns false where the channel is closed already */
  send(worker: number, id: number, connection: Connection): boolean
  /** The worker has connections to take and took none in time. */
  late(worker: number): void
}

/** A worker that takes others meanwhile may let one wait so many times as long. */
const PATIENCE = 6

interface Sent {
  readonly connection: Connection
  readonly worker: number
  readonly sentMs: number
}

export class Dispatcher {
  readonly #ports: DispatcherPorts
  readonly #nowMs: () => number
  #maxWaiting: number
  #ackMs: number
  #workers: readonly number[] = []
  #turn = 0
  #nextId = 1
  readonly #sent = new Map<number, Sent>()
  readonly #waiting: Connection[] = []
  /** When each worker last took something. */
  readonly #tookMs = new Map<number, number>()
  handedOver = 0
  refused = 0

  constructor(ports: DispatcherPorts, maxWaiting: number, ackMs: number, nowMs: () => number) {
    this.#ports = ports
    this.#nowMs = nowMs
    this.#maxWaiting = maxWaiting
    this.#ackMs = ackMs
  }

  get waiting(): number {
    return this.#waiting.length
  }

  limits(maxWaiting: number, ackMs: number): void {
    this.#maxWaiting = maxWaiting
    this.#ackMs = ackMs
  }

  /** The workers that may be chosen; waiting connections go out when there is one. */
  choose(workers: readonly number[]): void {
    this.#workers = workers
    if (workers.length === 0) return
    for (const connection of this.#waiting.splice(0)) this.#send(connection)
  }

  add(connection: Connection): void {
    this.#send(connection)
  }

  taken(id: number): void {
    const sent = this.#sent.get(id)
    if (sent === undefined) return
    this.#sent.delete(id)
    this.#tookMs.set(sent.worker, this.#nowMs())
    this.handedOver++
    sent.connection.close()
  }

  /** The handle did not arrive: once more. */
  missing(id: number): void {
    const sent = this.#sent.get(id)
    if (sent === undefined) return
    this.#sent.delete(id)
    this.#send(sent.connection)
  }

  /** The worker's channel is closed and all that it had said was heard. */
  disconnected(worker: number): void {
    this.#workers = this.#workers.filter((one) => one !== worker)
    this.#tookMs.delete(worker)
    for (const [id, sent] of [...this.#sent]) {
      if (sent.worker !== worker) continue
      this.#sent.delete(id)
      this.#send(sent.connection)
    }
  }

  /**
   * Tells of workers that are late. Node passes one socket of a worker at a time, and the next when that has arrived: on
   * a machine with too much to do a queue takes long, and killing whoever works it off would only make it longer.
   */
  tick(): void {
    const nowMs = this.#nowMs()
    const late = new Set<number>()
    for (const { worker, sentMs } of this.#sent.values()) {
      const isStill = nowMs - Math.max(sentMs, this.#tookMs.get(worker) ?? 0) > this.#ackMs
      if (isStill || nowMs - sentMs > PATIENCE * this.#ackMs) late.add(worker)
    }
    for (const worker of late) this.#ports.late(worker)
  }

  /** At the end of everything. */
  dropWaiting(): void {
    for (const connection of this.#waiting.splice(0)) connection.close()
  }

  #send(connection: Connection): void {
    if (connection.gone) {
      connection.close()
      return
    }
    const tries = this.#workers.length
    for (let i = 0; i < tries; i++) {
      const worker = this.#workers[this.#turn++ % this.#workers.length]!
      const id = this.#nextId++
      this.#sent.set(id, { connection, worker, sentMs: this.#nowMs() })
      if (this.#ports.send(worker, id, connection)) return
      this.#sent.delete(id)
    }
    if (this.#waiting.length < this.#maxWaiting) {
      this.#waiting.push(connection)
    } else {
      this.refused++
      connection.close()
    }
  }
}
