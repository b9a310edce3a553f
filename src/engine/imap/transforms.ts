/** Port: who seals and opens messages for this session (`engine/seal`); tests put simple ones in its place. */
import type { AnnouncedEnd } from '../seal/end-record.ts'
import type { SealedSizes } from '../seal/exactness.ts'
import type { OutlinedLeaf } from '../seal/opener.ts'
import type { MailSettings } from '../settings.ts'
import type { Transform } from '../transform.ts'

export interface OpenTransform extends Transform {
  /** What the message says of itself; known once its header is open. */
  readonly facts: {
    readonly declaredSizes: SealedSizes | null
    /** Blank lines may stand behind it that are none of it. */
    readonly padded: boolean
    readonly messageId: string | null
    readonly end: AnnouncedEnd | null
    /** Known when it is done; see `OpenFacts`. */
    readonly missingParts: number
    readonly endMissing: boolean
    readonly unsealedParts: number
    readonly altered: boolean
    readonly layoutLost: number
  }
}

export interface SealTransform extends Transform {
  /** Known once its header is there; else empty. */
  readonly facts: { readonly messageId: string }
}

export interface Transforms {
  /** Opens one sealed message. */
  opener(): OpenTransform
  /** Opens the headers of one, bodies pass as they are; each leaf is told in order. */
  outliner(leaf: (leaf: OutlinedLeaf) => void): OpenTransform
  /**
   * Seals one message for the account itself.
   * @param octets of the message, known from its literal
   * @param padded blank lines will be put behind it, which opening has to cut off
   */
  sealer(octets: number, padded: boolean): SealTransform
}

export type MakeTransforms = (settings: MailSettings) => Transforms
