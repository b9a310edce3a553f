/** The view of a message that passes by: as the server will serve it, from the octets that it is given. */
import { asGatewayError } from '../../../base/errors.ts'
import type { MessageView } from './message-view.ts'
import { StructureScanner } from './scanner.ts'
import { ServedOctets } from './served-octets.ts'

export class ServedScan {
  readonly #served = new ServedOctets()
  readonly #scanner = new StructureScanner()
  /** A header block beyond the limits: there is no view. */
  #lost = false

  /** Borrowed until return: what the scanner keeps of headers are views. */
  push(bytes: Buffer): void {
    this.#try(() => {
      for (const piece of this.#served.push(Buffer.from(bytes))) this.#scanner.push(piece)
    })
  }

  /** Once. */
  end(): MessageView | null {
    return this.#try(() => {
      for (const piece of this.#served.end()) this.#scanner.push(piece)
      return this.#scanner.end()
    })
  }

  #try<T>(run: () => T): T | null {
    if (this.#lost) return null
    try {
      return run()
    } catch (error) {
      if (asGatewayError(error).code === 'INTERNAL') throw error
      this.#lost = true
      return null
    }
  }
}
