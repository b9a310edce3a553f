import assert from 'node:assert/strict'
import test from 'node:test'
import { diceOf } from '../seal/generate.ts'
import { chaos } from './chaos.ts'

test('five hundred sessions in which anything happens at any time', () => {
  let acknowledged = 0
  for (let seed = 1; seed <= 500; seed++) {
    try {
      acknowledged += chaos(diceOf(seed))
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error })
    }
  }
  assert(acknowledged > 100, `only ${acknowledged} messages went through: nothing was tried`)
})
