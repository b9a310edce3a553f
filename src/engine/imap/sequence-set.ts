/**
 * Sets of message numbers, `1:4,7,9:*` (RFC 9051 §9 sequence-set): read where we must know what they hold, printed in the
 * shortest form. `$` (RFC 5182) and `*` cannot be known here: such a set is open.
 */
import { GatewayError } from '../../base/errors.ts'
import { type Cursor, syntax } from './cursor.ts'

const MAX_NUMBER = 0xffffffff
/** A command line cannot hold more ranges than this anyway. */
const MAX_RANGES = 40_000

export interface NumberSet {
  /** Ascending within each pair; pairs as given. `null` when the set has `*` or is `$`. */
  readonly ranges: readonly (readonly [number, number])[] | null
  /** As written. */
  readonly text: string
}

/** @throws {GatewayError} SYNTAX */
export function parseSet(cursor: Cursor): NumberSet {
  const from = cursor.at
  const { bytes } = cursor
  if (cursor.skip('$')) return { ranges: null, text: '$' }
  const ranges: [number, number][] = []
  let open = false
  do {
    const low = number(cursor)
    const high = cursor.skip(':') ? number(cursor) : low
    if (low < 0 || high < 0) open = true
    else ranges.push(low <= high ? [low, high] : [high, low])
    if (ranges.length > MAX_RANGES) throw new GatewayError('LINE_TOO_LONG', {})
  } while (cursor.skip(','))
  return { ranges: open ? null : ranges, text: bytes.toString('latin1', from, cursor.at) }
}

/** A number, -1 for `*`. */
function number(cursor: Cursor): number {
  if (cursor.skip('*')) return -1
  const value = cursor.number()
  if (value === 0 || value > MAX_NUMBER) throw syntax(cursor.at)
  return value
}

/** Numbers in ascending order as sets of at most `maxOctets` each: `1:3,5`. */
export function printSets(numbers: readonly number[], maxOctets: number): string[] {
  const sets: string[] = []
  let set = ''
  for (let i = 0; i < numbers.length; ) {
    const low = numbers[i]!
    let high = low
    for (i++; numbers[i] === high + 1; i++) high++
    const range = low === high ? `${low}` : `${low}:${high}`
    if (set.length > 0 && set.length + range.length + 1 > maxOctets) {
      sets.push(set)
      set = ''
    }
    set += set.length > 0 ? `,${range}` : range
  }
  if (set.length > 0) sets.push(set)
  return sets
}

/** How many numbers the ranges hold, counted at most to `limit`. */
export function countOf(ranges: readonly (readonly [number, number])[], limit: number): number {
  let count = 0
  for (const [low, high] of ranges) {
    count += high - low + 1
    if (count > limit) return limit
  }
  return count
}

/** The numbers of a set in the order written; empty where it is none, or holds more than `limit`. */
export function listUids(text: string, limit: number): number[] {
  if (!/^\d+(:\d+)?(,\d+(:\d+)?)*$/.test(text)) return []
  const numbers: number[] = []
  for (const range of text.split(',')) {
    const [from = 0, to = from] = range.split(':').map(Number)
    if (Math.abs(to - from) >= limit - numbers.length) return []
    for (let i = 0; i <= Math.abs(to - from); i++) numbers.push(to < from ? from - i : from + i)
  }
  return numbers
}
