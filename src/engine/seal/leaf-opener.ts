/**
 * One leaf of a message, opened without the rest of it: its sealed body in, its original text out. For who knows from an
 * outline (`opener.ts`) what the leaf is; the message around it is then not read at all.
 */
import type { Transform, TransformAction } from '../transform.ts'
import { OpenLeaf } from './open-leaf.ts'
import type { OutlinedLeaf } from './opener.ts'
import { OrderedOutput } from './ordered-output.ts'
import { SizesLedger } from './sizes-ledger.ts'
import { TransformAsking } from './transform-asking.ts'

/** Output that waits for threads before the input is asked to stop. */
const MAX_HELD_OCTETS = 2 << 20

export class LeafOpener implements Transform {
  readonly #asking = new TransformAsking()
  readonly #output = new OrderedOutput()
  readonly #leaf: OpenLeaf
  #done = false

  constructor({ key, encoding, exact }: NonNullable<OutlinedLeaf['sealed']>) {
    this.#leaf = new OpenLeaf({
      key,
      encoding,
      exact,
      ledger: new SizesLedger(),
      output: this.#output,
      askBatch: (job, answered) => this.#asking.ask('batch', job, answered),
      done: () => {
        this.#done = true
      },
    })
  }

  get wants(): boolean {
    return this.#leaf.heldOctets + this.#output.heldOctets < MAX_HELD_OCTETS
  }

  push(bytes: Buffer): TransformAction[] {
    this.#leaf.push(bytes)
    return this.#actions()
  }

  hasten(): TransformAction[] {
    this.#leaf.hasten()
    return this.#actions()
  }

  end(): TransformAction[] {
    this.#leaf.end()
    return this.#actions()
  }

  answer(id: number, answer: unknown): TransformAction[] {
    this.#asking.settle(id, answer)
    return this.#actions()
  }

  #actions(): TransformAction[] {
    for (const bytes of this.#output.take()) this.#asking.push({ do: 'write', bytes })
    if (this.#done) {
      this.#done = false
      this.#asking.push({ do: 'done' })
    }
    return this.#asking.takeActions()
  }
}
