/** The command line of a program for the console: a mistake in it is said in one line with the usage, not as a stack. */
import { type ParseArgsConfig, parseArgs } from 'node:util'

type Options = NonNullable<ParseArgsConfig['options']>
interface Config<T extends Options> {
  readonly allowPositionals: true
  readonly options: T & { readonly help: { readonly type: 'boolean' } }
}

/** @param usage one line, of which `--help` is the answer; a mistake ends the process with status 2 */
export function argumentsOf<const T extends Options>(
  usage: string,
  options: T,
): ReturnType<typeof parseArgs<Config<T>>> {
  try {
    const parsed = parseArgs({
      allowPositionals: true,
      options: { ...options, help: { type: 'boolean' } },
    } as Config<T>)
    if (!(parsed.values as { help?: boolean }).help) return parsed
    console.log(`usage: ${usage}`)
    process.exit(0)
  } catch (error) {
    console.error(`${error instanceof Error ? error.message.split('. ')[0] : error}\nusage: ${usage}`)
    process.exit(2)
  }
}
