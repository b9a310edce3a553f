/**
 * Runs a transform over a stream: for the command line, scripts and tests. Sessions hold their transforms themselves.
 */
import type { Transform, TransformAction, TransformAsk, TransformKind, TransformQuestions } from './transform.ts'

/** Who answers; what one throws ends the run. */
export type TransformAnswers = {
  readonly [K in TransformKind]?: (
    ask: TransformQuestions[K]['ask'],
  ) => TransformQuestions[K]['answer'] | Promise<TransformQuestions[K]['answer']>
}

/** @throws what the transform, the input or an answer throws; what was yielded before is then not a whole message */
export async function* runTransform(
  transform: Transform,
  input: AsyncIterable<Buffer> | Iterable<Buffer>,
  answers: TransformAnswers,
): AsyncGenerator<Buffer, void, undefined> {
  const run = new Run(transform, answers)
  for await (const bytes of input) {
    if (bytes.length > 0) run.take(transform.push(bytes))
    yield* run.written()
    while (!transform.wants && run.asked) {
      await run.oneAnswer()
      yield* run.written()
    }
  }
  run.take(transform.end())
  yield* run.written()
  while (!run.done) {
    await run.oneAnswer()
    yield* run.written()
  }
}

class Run {
  readonly #transform: Transform
  readonly #answers: TransformAnswers
  readonly #asked = new Map<number, Promise<{ readonly id: number; readonly answer: unknown }>>()
  #written: Buffer[] = []
  done = false

  constructor(transform: Transform, answers: TransformAnswers) {
    this.#transform = transform
    this.#answers = answers
  }

  get asked(): boolean {
    return this.#asked.size > 0
  }

  *written(): Iterable<Buffer> {
    const written = this.#written
    this.#written = []
    yield* written
  }

  take(actions: readonly TransformAction[]): void {
    for (const action of actions) {
      if (action.do === 'write') this.#written.push(action.bytes)
      else if (action.do === 'done') this.done = true
      else this.#ask(action)
    }
  }

  /** Waits for one question's answer and brings it. */
  async oneAnswer(): Promise<void> {
    if (!this.asked) throw new Error('the transform waits for nothing and is not done')
    const { id, answer } = await Promise.race(this.#asked.values())
    this.#asked.delete(id)
    this.take(this.#transform.answer(id, answer))
  }

  #ask({ id, kind, ask }: TransformAsk): void {
    const answering = this.#answers[kind] as ((ask: unknown) => unknown) | undefined
    if (answering === undefined) throw new Error(`nobody answers ${kind}`)
    const promise = Promise.resolve(answering(ask)).then((answer) => ({ id, answer }))
    // A rejection is met in oneAnswer; until then it must not count as unhandled.
    promise.catch(() => undefined)
    this.#asked.set(id, promise)
  }
}
