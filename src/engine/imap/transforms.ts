/** Port: who seals and opens messages for this session (`engine/seal`); tests put simple ones in its place. */
import type { MailSettings } from '../settings.ts'
import type { Transform } from '../transform.ts'

export interface Transforms {
  /** Opens one sealed message. */
  opener(): Transform
  /** Seals one message for the account itself. @param octets of the message, known from its literal */
  sealer(octets: number): Transform
}

export type MakeTransforms = (settings: MailSettings) => Transforms
