/** Three texts side by side on a terminal. */

const GAP = ' │ '
const NARROW = 90
/** Of a long mail the beginning: what a person compares. */
const MAX_ROWS = 46

export interface View {
  readonly title: string
  readonly text: string
}

/** @param columns width of the terminal, in characters */
export function sideBySide(views: readonly View[], columns: number): string {
  const total = Math.max(columns, NARROW)
  const width = Math.floor((total - GAP.length * (views.length - 1)) / views.length)
  const lines = views.map(({ text }) => text.split(/\r?\n/).map((line) => fit(line, width)))
  const longest = Math.max(...lines.map((column) => column.length))
  const rows = [
    views.map(({ title }) => fit(title, width).padEnd(width)),
    views.map(() => '─'.repeat(width)),
    ...Array.from({ length: Math.min(longest, MAX_ROWS) }, (_, row) =>
      lines.map((column) => (column[row] ?? '').padEnd(width)),
    ),
  ]
  if (longest > MAX_ROWS) {
    rows.push(
      lines.map((column) => (column.length > MAX_ROWS ? `… ${column.length - MAX_ROWS} more lines` : '').padEnd(width)),
    )
  }
  return rows.map((row) => row.join(GAP).trimEnd()).join('\n')
}

/** Printable ASCII only, so that columns stay straight and nothing in a mail can steer the terminal. */
function fit(line: string, width: number): string {
  const plain = line.replaceAll('\t', '  ').replace(/[^\x20-\x7e─│…]/g, '?')
  return plain.length > width ? `${plain.slice(0, width - 1)}…` : plain
}
