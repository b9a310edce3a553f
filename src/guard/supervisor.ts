/**
 * Which workers there should be: a state machine that is told what happened to processes and says what to do with
 * them. No processes, sockets or clocks here (`guard.ts` has those).
 *
 * The rule: a new worker is ready → the old one of its slot drains → at its deadline it is killed. A generation whose
 * first worker does not get ready is given up and changes nothing. A worker that dies is replaced at once, one that
 * keeps dying with growing delay; its siblings never notice.
 */
import { backoffMs } from '../base/backoff.ts'
import { unreachable } from '../base/errors.ts'

export interface SupervisorOptions {
  readonly slots: number
  /** A worker not ready by then is given up. */
  readonly startMs: number
  /** What a draining worker gets, its own deadline and some grace included. */
  readonly drainMs: number
  /** The same when all must end (SIGTERM). */
  readonly forcedMs: number
  /** No answer to pings for so long: the event loop hangs. */
  readonly hangMs: number
}

export type SupervisorEvent =
  | { readonly on: 'start' }
  | { readonly on: 'ready' | 'alive' | 'leaving'; readonly worker: number }
  /** @property configBad it said that the configuration is unusable (exit code 67) */
  | { readonly on: 'gone'; readonly worker: number; readonly configBad: boolean }
  | { readonly on: 'reload'; readonly generation: number; readonly options: SupervisorOptions }
  | { readonly on: 'stop'; readonly forced: boolean }
  | { readonly on: 'tick' }

export type SupervisorAction =
  | { readonly do: 'fork'; readonly worker: number; readonly generation: number }
  | { readonly do: 'drain'; readonly worker: number; readonly forced: boolean }
  | { readonly do: 'kill'; readonly worker: number; readonly why: 'start' | 'hang' | 'drain' | 'replaced' | 'stop' }
  /** A worker died that should not have. `delayMs` until the next try. */
  | { readonly do: 'died'; readonly worker: number; readonly delayMs: number }
  /** Every slot has a worker of this generation. */
  | { readonly do: 'rolled'; readonly generation: number }
  /** `worker`: the one that did not get ready. */
  | { readonly do: 'roll-failed'; readonly generation: number; readonly kept: number; readonly worker: number }
  /** Nothing left. `configBad`: the very first configuration was unusable. */
  | { readonly do: 'exit'; readonly configBad: boolean }

type WorkerState = 'starting' | 'ready' | 'draining'

interface Worker {
  readonly id: number
  readonly slot: number
  readonly generation: number
  state: WorkerState
  sinceMs: number
  aliveMs: number
  isForced: boolean
}

interface Slot {
  /** Deaths in a row, each soon after its start. */
  deaths: number
  /** When the next try is due; null = nothing is due. */
  dueMs: number | null
}

/** A worker that lived so long was healthy: its death starts a new count. */
const STEADY_MS = 10_000
const FIRST_DELAY_MS = 250
const MAX_DELAY_MS = 30_000
/** HUPs in a row must not pile up processes: the oldest draining ones are forced. */
const MAX_DRAINING_PER_SLOT = 3

export class Supervisor {
  #options: SupervisorOptions
  readonly #workers = new Map<number, Worker>()
  #slots: Slot[] = []
  #nextWorker = 1
  /** The newest generation that has had a ready worker. */
  #proven = 0
  #newest = 1
  /** The newest generation that every slot has had. */
  #rolled = 0
  #pendingOptions: SupervisorOptions | null = null
  /** Slots whose worker is to be replaced, in order. */
  #roll: number[] = []
  #rolling: number | null = null
  #state: 'running' | 'stopping' | 'forced' | 'over' = 'running'
  #nowMs = 0
  #actions: SupervisorAction[] = []

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Workers that may get connections. */
  get ready(): number[] {
    return this.#of('ready').map((worker) => worker.id)
  }

  get draining(): number[] {
    return this.#of('draining').map((worker) => worker.id)
  }

  get generation(): number {
    return this.#proven
  }

  /** @param nowMs any steady clock */
  step(event: SupervisorEvent, nowMs: number): SupervisorAction[] {
    this.#nowMs = nowMs
    switch (event.on) {
      case 'start':
        for (let slot = 0; slot < this.#options.slots; slot++) {
          this.#slots.push({ deaths: 0, dueMs: null })
          this.#fork(slot)
        }
        break
      case 'ready':
        this.#ready(event.worker)
        break
      case 'alive':
        this.#seen(event.worker)
        break
      case 'leaving':
        this.#leaving(event.worker)
        break
      case 'gone':
        this.#gone(event.worker, event.configBad)
        break
      case 'reload':
        this.#reload(event.generation, event.options)
        break
      case 'stop':
        this.#stop(event.forced)
        break
      case 'tick':
        this.#tick()
        break
      default:
        unreachable(event)
    }
    const actions = this.#actions
    this.#actions = []
    return actions
  }

  #of(state: WorkerState): Worker[] {
    return [...this.#workers.values()].filter((worker) => worker.state === state)
  }

  #inSlot(slot: number, state: WorkerState): Worker | undefined {
    return this.#of(state).find((worker) => worker.slot === slot)
  }

  #fork(slot: number): Worker {
    const id = this.#nextWorker++
    const nowMs = this.#nowMs
    const worker: Worker = {
      id,
      slot,
      generation: this.#newest,
      state: 'starting',
      sinceMs: nowMs,
      aliveMs: nowMs,
      isForced: false,
    }
    this.#workers.set(id, worker)
    const entry = this.#slots[slot]
    if (entry !== undefined) entry.dueMs = null
    this.#actions.push({ do: 'fork', worker: id, generation: worker.generation })
    return worker
  }

  #ready(id: number): void {
    const worker = this.#workers.get(id)
    if (worker === undefined || worker.state !== 'starting') return
    worker.state = 'ready'
    worker.sinceMs = this.#nowMs
    worker.aliveMs = this.#nowMs
    if (this.#state !== 'running') {
      this.#drain(worker, this.#state === 'forced')
      return
    }
    if (worker.generation > this.#proven) this.#prove(worker.generation)
    for (const old of this.#of('ready')) {
      if (old.slot === worker.slot && old !== worker) this.#drain(old, false)
    }
    if (this.#rolling === id) this.#rolling = null
    this.#rollOn()
  }

  /** The generation works: its options count from now on. */
  #prove(generation: number): void {
    this.#proven = generation
    if (this.#pendingOptions === null) return
    this.#options = this.#pendingOptions
    this.#pendingOptions = null
    const { slots } = this.#options
    while (this.#slots.length < slots) {
      this.#slots.push({ deaths: 0, dueMs: null })
      this.#roll.push(this.#slots.length - 1)
    }
    this.#slots.length = slots
    this.#roll = this.#roll.filter((slot) => slot < slots)
    for (const worker of this.#of('ready')) if (worker.slot >= slots) this.#drain(worker, false)
  }

  #rollOn(): void {
    if (this.#rolling !== null || this.#state !== 'running') return
    const slot = this.#roll.shift()
    if (slot !== undefined) this.#rolling = this.#fork(slot).id
    else if (this.#slots.every((_, i) => this.#inSlot(i, 'ready')?.generation === this.#newest)) {
      if (this.#rolled < this.#newest) this.#actions.push({ do: 'rolled', generation: this.#newest })
      this.#rolled = this.#newest
    }
  }

  #reload(generation: number, options: SupervisorOptions): void {
    if (this.#state !== 'running') return
    this.#newest = generation
    this.#pendingOptions = options
    // What is on its way up with the previous generation comes too late.
    for (const worker of this.#of('starting')) this.#kill(worker, 'replaced')
    for (const slot of this.#slots) slot.dueMs = null
    this.#rolling = null
    this.#roll = this.#slots.map((_, slot) => slot)
    this.#rollOn()
  }

  #leaving(id: number): void {
    const worker = this.#workers.get(id)
    if (worker?.state !== 'ready' || this.#state !== 'running') return
    if (!this.#roll.includes(worker.slot)) this.#roll.push(worker.slot)
    this.#rollOn()
  }

  #gone(id: number, configBad: boolean): void {
    const worker = this.#workers.get(id)
    if (worker === undefined) return
    this.#workers.delete(id)
    if (this.#state !== 'running') {
      this.#ended()
      return
    }
    if (worker.state === 'draining') return
    const rolling = this.#rolling === id
    if (rolling) this.#rolling = null
    if (configBad && this.#proven === 0) this.#abandon()
    else if (rolling && this.#proven > 0 && worker.generation > this.#proven) this.#giveUp(worker)
    else {
      this.#replace(worker, rolling)
      this.#rollOn()
    }
  }

  /** Nothing ever worked, and nothing will until somebody edits the file. */
  #abandon(): void {
    this.#state = 'over'
    for (const worker of this.#workers.values()) this.#kill(worker, 'stop')
    this.#actions.push({ do: 'exit', configBad: true })
  }

  /** The new configuration does not work: the old workers stay. */
  #giveUp(failed: Worker): void {
    this.#newest = this.#proven
    this.#pendingOptions = null
    this.#roll = []
    this.#actions.push({ do: 'roll-failed', generation: failed.generation, kept: this.#proven, worker: failed.id })
    // Slots whose worker died meanwhile.
    for (const [slot] of this.#slots.entries()) if (!this.#manned(slot)) this.#fork(slot)
  }

  /** @param rolling it was to take the place of a worker that still serves: that one stays until the next try */
  #replace(dead: Worker, rolling: boolean): void {
    const slot = this.#slots[dead.slot]
    if (slot === undefined) return
    const steady = dead.state === 'ready' && this.#nowMs - dead.sinceMs >= STEADY_MS
    const deaths = steady ? 0 : slot.deaths
    slot.deaths = deaths + 1
    const delayMs = deaths === 0 && !rolling ? 0 : backoffMs(Math.max(0, deaths - 1), FIRST_DELAY_MS, MAX_DELAY_MS)
    this.#actions.push({ do: 'died', worker: dead.id, delayMs })
    if (!rolling && this.#manned(dead.slot)) return
    if (delayMs === 0) this.#fork(dead.slot)
    else slot.dueMs = this.#nowMs + delayMs
  }

  #manned(slot: number): boolean {
    return (
      this.#inSlot(slot, 'ready') !== undefined || this.#inSlot(slot, 'starting') !== undefined || this.#isDue(slot)
    )
  }

  #isDue(slot: number): boolean {
    return this.#slots[slot]?.dueMs != null
  }

  #drain(worker: Worker, forced: boolean): void {
    worker.state = 'draining'
    worker.sinceMs = this.#nowMs
    this.#actions.push({ do: 'drain', worker: worker.id, forced })
    const draining = this.#of('draining').sort((a, b) => a.id - b.id)
    const surplus = draining.length - MAX_DRAINING_PER_SLOT * Math.max(1, this.#slots.length)
    for (const old of draining.slice(0, Math.max(0, surplus))) {
      if (old.isForced) continue
      old.isForced = true
      this.#actions.push({ do: 'drain', worker: old.id, forced: true })
    }
  }

  #kill(worker: Worker, why: Extract<SupervisorAction, { do: 'kill' }>['why']): void {
    // Not to be counted as a death, nor chosen again.
    if (why === 'replaced' || why === 'stop') worker.state = 'draining'
    this.#actions.push({ do: 'kill', worker: worker.id, why })
  }

  #stop(forced: boolean): void {
    if (this.#state === 'over' || this.#state === 'forced' || (this.#state === 'stopping' && !forced)) return
    this.#state = forced ? 'forced' : 'stopping'
    this.#roll = []
    for (const worker of this.#workers.values()) {
      if (worker.state === 'starting') this.#kill(worker, 'stop')
      else if (worker.state === 'ready' || forced) this.#drain(worker, forced)
    }
    this.#ended()
  }

  #ended(): void {
    if (this.#workers.size > 0 || this.#state === 'over' || this.#state === 'running') return
    this.#state = 'over'
    this.#actions.push({ do: 'exit', configBad: false })
  }

  #seen(id: number): void {
    const worker = this.#workers.get(id)
    if (worker !== undefined) worker.aliveMs = this.#nowMs
  }

  #tick(): void {
    const { startMs, drainMs, forcedMs, hangMs } = this.#options
    const nowMs = this.#nowMs
    for (const worker of this.#workers.values()) {
      const age = nowMs - worker.sinceMs
      const limit = this.#state === 'forced' ? forcedMs : drainMs
      if (worker.state === 'draining' && age > limit) this.#kill(worker, 'drain')
      else if (worker.state === 'starting' && age > startMs) this.#kill(worker, 'start')
      else if (worker.state !== 'starting' && nowMs - worker.aliveMs > hangMs) this.#kill(worker, 'hang')
    }
    if (this.#state !== 'running') return
    for (const [i, slot] of this.#slots.entries()) {
      if (slot.dueMs !== null && slot.dueMs <= nowMs) {
        this.#fork(i)
      }
    }
  }
}
