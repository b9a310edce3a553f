/** What a fuzz target is. Each protocol's parsers have a file of them beside this one; `scripts/fuzz.ts` lists them all. */
import type { Dice } from '../../test/engine/seal/generate.ts'

export interface FuzzTarget {
  readonly name: string
  /**
   * One case, the same for the same dice. Fails by throwing anything that is not the expected, typed error.
   */
  run(dice: Dice, seed: number): void
}
