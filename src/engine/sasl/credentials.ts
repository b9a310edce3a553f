/** What a client proved itself with, whatever the mechanism: the end of every server-side exchange. */
import type { Secret } from '../../base/secret.ts'

export interface Credentials {
  /** As the client gave it; see `account-name.ts`. */
  readonly account: string
  /** The VESkey; with `bearer`, base64 of the VESkey encrypted to our OAuth key (key-repository.md §2). */
  readonly password: Secret<Buffer>
  readonly bearer?: true
}
