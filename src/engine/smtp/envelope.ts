/**
 * One message's state, from MAIL to its final reply: an object of its own for each, so that nothing of one message
 * can reach into the next (in the C gateway the plain mark outlived RSET).
 */
import type { SealMode } from '../account.ts'
import type { Parameter } from './command.ts'

/** What becomes of the message as a whole. */
export type Outcome = 'sealed' | 'plain'

export class Envelope {
  /** As it was at MAIL: a later XVES MODE is about the next message. */
  readonly mode: SealMode
  readonly smtpUtf8: boolean
  /** The client said BODY=8BITMIME and the provider does not know it. */
  readonly mustBeSevenBit: boolean
  /** Declared by the client, octets; null = it did not say. */
  readonly declaredOctets: number | null
  /** Addresses as the client wrote them, in the order in which the provider took them. */
  readonly #accepted: string[] = []
  /** Vault URIs of accepted recipients, for the log. */
  readonly vaults: string[] = []
  #acceptedWithoutVault = false
  /** Recipients asked for, refused ones too: bounds them. */
  recipients = 0

  constructor(mode: SealMode, options: Pick<Envelope, 'smtpUtf8' | 'mustBeSevenBit' | 'declaredOctets'>) {
    this.mode = mode
    this.smtpUtf8 = options.smtpUtf8
    this.mustBeSevenBit = options.mustBeSevenBit
    this.declaredOctets = options.declaredOctets
  }

  /** The provider took this recipient, by any 2xx. @param vault null = it has none (FALLBACK, PLAIN) */
  accept(address: string, vault: string | null): void {
    this.#accepted.push(address)
    if (vault === null) this.#acceptedWithoutVault = true
    else this.vaults.push(vault)
  }

  get accepted(): readonly string[] {
    return this.#accepted
  }

  /** As things stand: only recipients that the provider accepted count. */
  get outcome(): Outcome {
    if (this.mode === 'PLAIN') return 'plain'
    return this.mode === 'FALLBACK' && this.#acceptedWithoutVault ? 'plain' : 'sealed'
  }
}

export function parameter(parameters: readonly Parameter[], name: string): Parameter | null {
  return parameters.find((other) => other.name === name) ?? null
}
