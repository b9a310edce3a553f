/**
 * The shape of the command line before commander sees it (daemon.md §2): the command may be cut to a unique prefix, and
 * options may stand before it, as the C program allows. What the options mean, each command says.
 */
import { UsageError } from './exit.ts'

/** The C program's commands: what is unique among them stays so, whatever ours add. */
const CLASSIC: ReadonlySet<string> = new Set(['daemon', 'imap', 'smtp', 'now', 'encrypt', 'decrypt'])
/** Options of any command that take the next word as their value. */
const LONG_WITH_VALUE: ReadonlySet<string> = new Set([
  ...['--account', '--veskey', '--VESkey', '--unlock', '--token', '--conf', '--sni', '--input', '--api'],
])
const SHORT_WITH_VALUE: ReadonlySet<string> = new Set(['a', 'u', 'v', 'T', 'C', 's', 'i'])

export interface CommandLine {
  /** As typed; null = there was none. */
  readonly word: string | null
  /** What belongs to the command, in order. */
  readonly args: readonly string[]
}

/** Finds the first word that is no option and no option's value; what stood before it goes behind it. */
export function splitCommandLine(argv: readonly string[]): CommandLine {
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!
    if (word === '--') break
    if (!word.startsWith('-') || word === '-') {
      return { word, args: [...argv.slice(0, at), ...argv.slice(at + 1)] }
    }
    if (takesNext(word)) at++
  }
  return { word: null, args: argv }
}

/** @returns the command's full name. @throws UsageError naming the candidates */
export function resolveCommand(word: string, names: readonly string[]): string {
  if (names.includes(word)) return word
  const candidates = names.filter((name) => name.startsWith(word))
  const classic = candidates.filter((name) => CLASSIC.has(name))
  const [only, ...others] = classic.length === 1 ? classic : candidates
  if (only === undefined) throw new UsageError(`unknown command "${word}"; one of: ${names.join(', ')}`)
  if (others.length > 0) throw new UsageError(`"${word}" may be: ${candidates.join(', ')}`)
  return only
}

function takesNext(word: string): boolean {
  if (word.startsWith('--')) return LONG_WITH_VALUE.has(word)
  // Bundled: the first letter that takes a value takes the rest of the word, or the next word if it is the last.
  const letters = [...word.slice(1)]
  const at = letters.findIndex((letter) => SHORT_WITH_VALUE.has(letter))
  return at >= 0 && at === letters.length - 1
}
