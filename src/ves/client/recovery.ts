/**
 * Recovery, n of m: the primary key's VESkey is split among friends (docs/repository-api.md). The repository keeps each
 * share sealed to a friend's vault; whoever recovers gets them sealed to a key made for it. All splitting, sealing and
 * joining is done here.
 *
 * A share: version octet ‖ 8 octets that name the split ‖ Shamir share of (VESkey ‖ checksum). The checksum tells wrong
 * or too few shares, which would give a wrong secret in silence; the name keeps shares of different splits apart.
 */
import { hash, randomBytes } from 'node:crypto'
import { combine, split } from 'shamir-secret-sharing'
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import { openFromVaultKey, type VaultKey } from '../../engine/seal/vault-key.ts'

const VERSION = 1
const SPLIT_OCTETS = 8
const HEAD_OCTETS = 1 + SPLIT_OCTETS
const CHECKSUM_OCTETS = 8
const MAX_SHARES = 32
/** Subsets tried when friends gave wrong shares: one bad of 16 needs 17. */
const MAX_TRIES = 20_000

/** @returns one share per friend, any `threshold` of which give the VESkey back */
export async function splitVeskey(veskey: Secret<Buffer>, friends: number, threshold: number): Promise<Buffer[]> {
  if (threshold < 2 || friends < threshold || friends > MAX_SHARES) {
    throw new GatewayError('VES_PARAMETER', { text: `recovery needs 2 <= n <= m <= ${MAX_SHARES}` })
  }
  // The library takes no Buffer for a Uint8Array.
  const secret = new Uint8Array(Buffer.concat([veskey.expose(), checksum(veskey.expose())]))
  const shares = await split(secret, friends, threshold)
  secret.fill(0)
  const head = Buffer.concat([Buffer.of(VERSION), randomBytes(SPLIT_OCTETS)])
  return shares.map((share) => Buffer.concat([head, share]))
}

/**
 * @param shares as friends gave them; wrong ones may be among them
 * @throws GatewayError VES_INCORRECT where no `threshold` of them fit
 */
export async function joinShares(shares: readonly Buffer[], threshold: number): Promise<Secret<Buffer>> {
  const splits = new Map<string, Buffer[]>()
  for (const share of shares.slice(0, MAX_SHARES)) {
    if (share.length <= HEAD_OCTETS + CHECKSUM_OCTETS || share[0] !== VERSION) continue
    const name = share.toString('latin1', 1, HEAD_OCTETS)
    splits.set(name, [...(splits.get(name) ?? []), share.subarray(HEAD_OCTETS)])
  }
  let tries = 0
  for (const same of splits.values()) {
    for (const some of subsets(same, threshold)) {
      if (++tries > MAX_TRIES) break
      const veskey = await tryJoin(some)
      if (veskey !== null) return veskey
    }
  }
  throw new GatewayError('VES_INCORRECT', { text: 'the shares do not fit together', shares: shares.length, threshold })
}

/** A share that whoever recovers was given: opened with the key made for the recovery. */
export function openShare(key: VaultKey, encData: Buffer): Buffer | null {
  try {
    return openFromVaultKey(key, encData)
  } catch (error) {
    // A friend may have given rubbish; the others may still be enough.
    if (error instanceof GatewayError && error.code === 'VES_CRYPTO') return null
    throw error
  }
}

async function tryJoin(shares: readonly Buffer[]): Promise<Secret<Buffer> | null> {
  const [first] = shares
  if (first === undefined || shares.some(({ length }) => length !== first.length)) return null
  // The last octet of a share is its place; the library refuses two of the same place.
  if (new Set(shares.map((share) => share.at(-1))).size !== shares.length) return null
  const secret = Buffer.from(await combine(shares.map((share) => new Uint8Array(share))))
  const veskey = secret.subarray(0, secret.length - CHECKSUM_OCTETS)
  return checksum(veskey).equals(secret.subarray(veskey.length)) ? new Secret(veskey) : null
}

function checksum(veskey: Buffer): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from('vesmail recovery\0'), veskey]), 'buffer').subarray(
    0,
    CHECKSUM_OCTETS,
  )
}

/** All ways to take `size` of them, those with the earliest first. */
function* subsets<T>(all: readonly T[], size: number, from = 0): Generator<T[]> {
  if (size === 0) {
    yield []
    return
  }
  for (let at = from; at <= all.length - size; at++) {
    for (const rest of subsets(all, size - 1, at + 1)) yield [all[at]!, ...rest]
  }
}
