/** Tables that a person reads. */

export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const clean = rows.map((row) => row.map((cell) => cell.replace(/[\x00-\x1f\x7f]/g, '?')))
  const widths = head.map((title, i) => Math.max(title.length, ...clean.map((row) => (row[i] ?? '').length)))
  const line = (row: readonly string[]) =>
    `${row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()}\n`
  process.stdout.write([head, ...clean].map(line).join(''))
}

/** Milliseconds since the epoch as `2026-11-24 23:59:01`, UTC. */
export function timeText(ms: unknown): string {
  return typeof ms === 'number' && Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 19).replace('T', ' ') : ''
}
