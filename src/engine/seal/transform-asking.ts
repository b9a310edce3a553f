/** The bookkeeping of a transform's actions and questions, as `engine/asking.ts` is for sessions. */
import type { TransformAction, TransformAsk, TransformKind, TransformQuestions } from '../transform.ts'

export class TransformAsking {
  #actions: TransformAction[] = []
  readonly #waiting = new Map<number, (answer: never) => void>()
  #nextId = 1

  /** Questions without an answer yet. */
  get open(): number {
    return this.#waiting.size
  }

  ask<K extends TransformKind>(
    kind: K,
    ask: TransformQuestions[K]['ask'],
    answered: (answer: TransformQuestions[K]['answer']) => void,
  ): void {
    const id = this.#nextId++
    this.#waiting.set(id, answered as (answer: never) => void)
    this.#actions.push({ do: 'ask', id, kind, ask } as TransformAsk)
  }

  push(action: Exclude<TransformAction, TransformAsk>): void {
    this.#actions.push(action)
  }

  settle(id: number, answer: unknown): void {
    const answered = this.#waiting.get(id)
    if (answered === undefined) throw new Error(`no question ${id}`)
    this.#waiting.delete(id)
    answered(answer as never)
  }

  takeActions(): TransformAction[] {
    const actions = this.#actions
    this.#actions = []
    return actions
  }
}
