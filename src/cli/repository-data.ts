/**
 * A repository's folder: the database, the admin token and the key of its tokens. All are the owner's alone (mode 600);
 * the token key is no part of a backup.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { makeFolder } from '../net/make-folder.ts'

export interface RepositoryFolder {
  readonly database: string
  readonly adminToken: Secret<string>
  readonly tokenKey: Secret<Buffer>
}

const TOKEN_KEY_OCTETS = 32

/** @param folder made where it is not there, mode 700 @throws GatewayError IO, CONFIG_INVALID */
export function openRepositoryFolder(
  folder: string,
  how: { readonly withoutDatabase?: boolean } = {},
): RepositoryFolder {
  try {
    makeFolder(folder, 0o700)
  } catch (error) {
    throw new GatewayError('IO', { path: folder, text: 'cannot make the data folder' }, error)
  }
  const adminToken = secretFile(join(folder, 'admin-token'), () => Buffer.from(randomBytes(32).toString('base64url')))
  const tokenKey = secretFile(join(folder, 'token-key'), () => randomBytes(TOKEN_KEY_OCTETS))
  const token = adminToken.toString('utf8').trim()
  if (!/^[A-Za-z0-9_.~-]{20,79}$/.test(token) || tokenKey.length !== TOKEN_KEY_OCTETS) {
    throw new GatewayError('CONFIG_INVALID', { path: folder, text: 'admin-token or token-key damaged' })
  }
  const database = join(folder, 'repository.db')
  // Made before SQLite makes it, which would let others read it; its companions get the same mode.
  if (how.withoutDatabase !== true) writeFileSync(database, '', { flag: 'a', mode: 0o600 })
  return {
    database,
    adminToken: new Secret(token),
    tokenKey: new Secret(tokenKey),
  }
}

/** The file's octets; made with fresh ones where it is not there, without ever being readable by others. */
function secretFile(path: string, make: () => Buffer): Buffer {
  try {
    writeFileSync(path, make(), { flag: 'wx', mode: 0o600, flush: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new GatewayError('IO', { path, text: 'cannot write' }, error)
    }
    chmodSync(path, 0o600)
  }
  return readFileSync(path)
}
