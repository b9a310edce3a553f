/**
 * A value that must not be printed: passwords, VESkeys, tokens, keys.
 *
 * It shows as `[secret]` in every log, template string, JSON and inspection; only {@link Secret.expose} opens it.
 */
import { inspect } from 'node:util'

export class Secret<T> {
  readonly #value: T

  constructor(value: T) {
    this.#value = value
  }

  /** The value itself. Call it only where it is used, and keep no copy. */
  expose(): T {
    return this.#value
  }

  /** Overwrites a binary secret with zeros; a string cannot be wiped and is left to the collector. */
  wipe(): void {
    if (this.#value instanceof Uint8Array) this.#value.fill(0)
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}
