/** Reads a sealed message's root header block from what arrives, for the id and the verify token in it. */
import { type HeaderField, unfoldedValue } from '../../engine/mime/header-block.ts'
import { MAX_SEALED_HEADER_OCTETS } from '../../engine/mime/limits.ts'
import { MimeReader } from '../../engine/mime/reader.ts'
import { sealedMessageId } from '../../engine/seal/format.ts'

/** Tokens are at most 79 characters, without white space, comma or semicolon (key-repository.md §2). */
const TOKEN = /^[\x21-\x2b\x2d-\x3a\x3c-\x7e]{1,79}$/

export class HeaderScan {
  readonly #reader = new MimeReader(MAX_SEALED_HEADER_OCTETS)
  #fields: readonly HeaderField[] | null = null

  /** The buffer is kept. @returns true once the block is complete. @throws {GatewayError} MIME_HEADER_TOO_LARGE */
  push(bytes: Buffer): boolean {
    if (this.#fields !== null) return true
    this.#reader.push(bytes)
    const event = this.#reader.next()
    if (event?.on === 'headers') this.#fields = event.block.fields
    return this.#fields !== null
  }

  /** Without suffix; null: not sealed. */
  get messageId(): string | null {
    return this.#fields === null ? null : sealedMessageId(this.#fields)
  }

  /** Value of X-VESmail-Verify; null where there is none that could be a token. */
  get verify(): string | null {
    const field = this.#fields?.find(({ name }) => name === 'x-vesmail-verify')
    const value = field === undefined ? '' : unfoldedValue(field)
    return TOKEN.test(value) ? value : null
  }
}
