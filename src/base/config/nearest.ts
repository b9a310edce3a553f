/** The known name that was probably meant by an unknown one. */

/** More edits than this, or a third of the name, and it is another word. */
const MAX_EDITS = 3

/** @returns null where nothing is near. Linear in `known`; names are short. */
export function nearest(name: string, known: readonly string[]): string | null {
  let best: string | null = null
  let least = Math.min(MAX_EDITS, Math.ceil(name.length / 3)) + 1
  for (const candidate of known) {
    if (Math.abs(candidate.length - name.length) >= least) continue
    const edits = distance(name.toLowerCase().slice(0, 64), candidate.toLowerCase())
    if (edits < least) {
      least = edits
      best = candidate
    }
  }
  return best
}

/** Levenshtein's, one row at a time. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same))
    }
    row = next
  }
  return row[b.length]!
}
