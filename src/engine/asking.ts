/**
 * The bookkeeping every session needs: the list of actions of the current step, and what to do with each answer.
 * A question is asked with two continuations; they run inside the `step` that brings the answer.
 */
import type { GatewayError } from '../base/errors.ts'
import type { LogFields, LogLevel } from '../base/log.ts'
import type { Action, AnswerOf, Ask, AskOf, Event, QuestionKind, Side } from './session.ts'

interface Waiting {
  readonly answered: (answer: never) => void
  readonly refused: (error: GatewayError) => void
}

export class Asking {
  #actions: Action[] = []
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1

  /** Questions without an answer yet. */
  get open(): number {
    return this.#waiting.size
  }

  ask<K extends QuestionKind>(
    kind: K,
    ask: AskOf<K>,
    answered: (answer: AnswerOf<K>) => void,
    refused: (error: GatewayError) => void,
  ): void {
    const id = this.#nextId++
    this.#waiting.set(id, { answered: answered as (answer: never) => void, refused })
    this.#actions.push({ do: 'ask', id, kind, ask } as Ask)
  }

  send(side: Side, bytes: Buffer | string): void {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : bytes
    if (buffer.length > 0) this.#actions.push({ do: 'send', side, bytes: buffer })
  }

  log(level: LogLevel, event: string, fields: LogFields = {}): void {
    this.#actions.push({ do: 'log', level, event, fields })
  }

  push(action: Exclude<Action, Ask>): void {
    this.#actions.push(action)
  }

  /** Runs the continuation of an `answer` or `refused` event; answers nobody waits for any more are dropped. */
  settle(event: Extract<Event, { on: 'answer' | 'refused' }>): void {
    const waiting = this.#waiting.get(event.id)
    if (waiting === undefined) return
    this.#waiting.delete(event.id)
    if (event.on === 'answer') waiting.answered(event.answer as never)
    else waiting.refused(event.error)
  }

  /** Forgets all open questions: their answers will be dropped. */
  forget(): void {
    this.#waiting.clear()
  }

  /** The actions collected since the last call. */
  takeActions(): Action[] {
    const actions = this.#actions
    this.#actions = []
    return actions
  }
}
