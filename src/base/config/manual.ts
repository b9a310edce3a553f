/** Every configuration key for people: `vesmail check --keys` prints it, docs/configuration.md is it. */
import { ALIASES, OPTION_NAMES, OPTIONS } from './options.ts'

const WHERE = {
  process: 'program',
  listener: 'listener',
  host: 'host',
} as const

/** Markdown. */
export function printManual(): string {
  const rows = OPTION_NAMES.map((name) => {
    const { expected, default: value, scope, doc } = OPTIONS[name]
    const other = Object.keys(ALIASES).filter((alias) => ALIASES[alias] === name)
    const names = [name, ...other].map((one) => `\`${one}\``).join(', ')
    const given = value === null ? '' : `\`${JSON.stringify(value)}\``
    return `| ${[names, doc, expected, given, WHERE[scope]].map(cell).join(' | ')} |`
  })
  return `# Configuration keys

\`/etc/vesmail/vesmail.conf\` (\`-C FILE\`) is JSON; lines that begin with \`#\`, \`;\` or \`/\` are comments. \`{"tls": {"level": "high"}}\` sets
\`tls.level\`. Blocks: \`"*"\` for all, \`"imap"\`, \`"smtp"\`, \`"now"\` for a service, the entries of \`"daemons"\` (\`server\`, \`host\`, \`port\`, and keys)
for a listener, and the file of a host (\`sni\`). The later of these counts, \`null\` unsets; of two equal keys in a block the first.
Where a key may stand: *program*: in \`"*"\` or beside it; *listener*: also for a service or in an entry of \`daemons\`; *host*: also in
the file of a host. Unknown keys and misplaced ones are warnings, wrong values errors; \`vesmail check -C FILE\` tells both, with their lines.

| key | | value | default | where |
|---|---|---|---|---|
${rows.join('\n')}
`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}
