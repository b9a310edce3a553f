/**
 * The OAuth key (daemon.md §1 `oauth-key`, now.md `GET /oauth`): clients that log in by XOAUTH2 or OAUTHBEARER send
 * their VESkey encrypted to it. The file has C's form: a PKCS#8 PEM under the pass phrase `oauth`, which guards nothing;
 * what guards it is its mode. Several files: the first is published, all open, so that a key can be rotated with overlap.
 */
import { randomBytes } from 'node:crypto'
import { linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import { openFromVaultKey, publicOf, unlockPrivateKey, type VaultKey } from '../../engine/seal/vault-key.ts'
import { makeVaultKey } from '../../engine/seal/vault-key-make.ts'
import { makeFolder } from '../make-folder.ts'

const PASS_PHRASE = Buffer.from('oauth')
/** What every libVES can encrypt to. */
const KIND = 'P-521'
/** Base64 of a sealed VESkey; longer ones are no bearer of ours. Characters. */
const MAX_BEARER = 8192

export class OAuthKeys {
  /** PEM SPKI of the published one. */
  readonly publicKey: string
  /** Files that others than their owner can read. */
  readonly warnings: readonly string[]
  readonly #keys: readonly VaultKey[]

  /** @param files first made if it is absent. @throws {GatewayError} CONFIG_INVALID naming the file */
  constructor(files: readonly string[]) {
    const [first] = files
    if (first === undefined) throw new GatewayError('CONFIG_INVALID', { key: 'oauth-key', text: 'no file is named' })
    makeIfAbsent(first)
    this.#keys = files.map(readKey)
    this.publicKey = publicOf(this.#keys[0]!).key.export({ type: 'spki', format: 'pem' }).toString()
    this.warnings = files.filter((file) => (statSync(file).mode & 0o077) !== 0)
  }

  /** @returns the VESkey. @throws {GatewayError} BAD_CREDENTIALS */
  open(bearer: Secret<Buffer>): Secret<Buffer> {
    const text = bearer.expose().toString('latin1').trim()
    if (text.length === 0 || text.length > MAX_BEARER || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) {
      throw new GatewayError('BAD_CREDENTIALS', { reason: 'bearer' })
    }
    const sealed = Buffer.from(text, 'base64')
    let failure: unknown
    for (const key of this.#keys) {
      try {
        return new Secret(openFromVaultKey(key, sealed))
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error
        failure = error
      }
    }
    throw new GatewayError('BAD_CREDENTIALS', { reason: 'bearer' }, failure)
  }
}

/** Exclusively, whole, for its owner alone: of several processes that start at once one makes it, all read the same. */
function makeIfAbsent(file: string): void {
  const temporary = join(dirname(file), `.${randomBytes(6).toString('hex')}.tmp`)
  try {
    statSync(file)
    return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw unusable(file, error)
  }
  try {
    makeFolder(dirname(file), 0o700)
    writeFileSync(temporary, makeVaultKey(KIND, PASS_PHRASE).privateKey, { mode: 0o600, flag: 'wx' })
    linkSync(temporary, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable(file, error)
  } finally {
    rmSync(temporary, { force: true })
  }
}

function readKey(file: string): VaultKey {
  try {
    return unlockPrivateKey(readFileSync(file, 'utf8'), PASS_PHRASE)
  } catch (error) {
    throw unusable(file, error)
  }
}

function unusable(file: string, cause: unknown): GatewayError {
  const reason = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause)
  return new GatewayError('CONFIG_INVALID', { key: 'oauth-key', text: `${file}: ${reason}` }, cause)
}
