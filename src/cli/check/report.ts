/** What `vesmail check` has to say: a line for each thing, and where in the configuration to look. */
import type { DaemonEntry } from '../../base/config/config-file.ts'
import { OPTIONS, type OptionName } from '../../base/config/options.ts'
import { type Layer, reasonOf, whereSet } from '../../base/config/places.ts'
import { asGatewayError } from '../../base/errors.ts'

export type Level = 'ok' | 'warn' | 'FAIL'

/** Ten thousand host files with the same mistake are one thing to be told. */
const MAX_ALIKE = 10

export class Report {
  readonly #print: (line: string) => void
  #failures = 0

  constructor(print: (line: string) => void) {
    this.#print = print
  }

  get failures(): number {
    return this.#failures
  }

  tell(level: Level, what: string): void {
    if (level === 'FAIL') this.#failures++
    this.#print(`${level.padEnd(4)} ${what}`)
  }

  /** @returns what `run` gives, or null where it failed, which was told then */
  attempt<T>(what: string, run: () => T): T | null {
    try {
      return run()
    } catch (error) {
      this.tell('FAIL', `${what}: ${reasonOf(error)}`)
      return null
    }
  }

  /** For many of a kind: the first few are told, the others counted. Call `end` after the last. */
  series(kind: string): Series {
    const more = { ok: 0, warn: 0, FAIL: 0 }
    const told = { ok: 0, warn: 0, FAIL: 0 }
    return {
      tell: (level, what) => {
        if (told[level]++ < MAX_ALIKE) this.tell(level, what)
        else more[level]++
      },
      end: () => {
        for (const level of ['FAIL', 'warn'] as const) {
          if (more[level] > 0) this.tell(level, `${kind}: ${more[level]} more like these`)
        }
      },
    }
  }
}

export interface Series {
  tell(level: Level, what: string): void
  end(): void
}

/** Where an error names an option: the line of that. */
export function whereFailed(error: unknown, layers: readonly Layer[]): string {
  const { key } = asGatewayError(error).detail
  return typeof key === 'string' && Object.hasOwn(OPTIONS, key) ? `${whereSet(key as OptionName, layers)}: ` : ''
}

export function listenerName({ service, host, port }: DaemonEntry): string {
  // Port 0: none, a session of its own process.
  return port === 0 ? service : `${service} ${host ?? '*'}:${port}`
}
