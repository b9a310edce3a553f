/**
 * Key operations as data, so that they can run in place or in a pool thread (`workers/thread`): each job and result is
 * structured-cloneable. `runKeyJob` is pure but for OpenSSL's randomness. Holds secrets: jobs are never logged.
 */
import { GatewayError, unreachable } from '../../base/errors.ts'
import {
  type KeyKind,
  openFromVaultKey,
  readPublicKey,
  sealToVaultKey,
  sealToVaultKeys,
  unlockPrivateKey,
  type VaultKey,
} from './vault-key.ts'
import { type MadeVaultKey, makeVaultKey } from './vault-key-make.ts'

export interface KeyJobs {
  /** Unlock a private key, and open with it what came along (the session token): one trip to the pool per login. */
  unlock: {
    job: { readonly privateKey: string; readonly veskey: Uint8Array; readonly sealed: readonly Uint8Array[] }
    result: { readonly key: VaultKey; readonly values: readonly Uint8Array[] }
  }
  open: {
    job: { readonly key: VaultKey; readonly sealed: readonly Uint8Array[] }
    result: { readonly values: readonly Uint8Array[] }
  }
  /** One value to many keys. */
  seal: {
    job: { readonly keys: readonly (VaultKey | string)[]; readonly value: Uint8Array }
    result: { readonly sealed: readonly Uint8Array[] }
  }
  /** Values that are sealed to one key, each sealed anew to another one (rotation, temp keys); null for what does not open. */
  reseal: {
    job: { readonly from: VaultKey; readonly to: VaultKey; readonly sealed: readonly Uint8Array[] }
    result: { readonly sealed: readonly (Uint8Array | null)[] }
  }
  /** `rounds` of PBKDF2; null = the default for random VESkeys. */
  make: {
    job: { readonly kind: KeyKind; readonly veskey: Uint8Array; readonly rounds: number | null }
    result: MadeVaultKey
  }
  read: {
    job: { readonly publicKey: string }
    result: VaultKey
  }
}

export type KeyJobKind = keyof KeyJobs
export type KeyJob = { [K in KeyJobKind]: { readonly kind: K } & KeyJobOf<K> }[KeyJobKind]
export type KeyJobOf<K extends KeyJobKind> = { readonly job: KeyJobs[K]['job'] }
export type KeyResult<K extends KeyJobKind> = KeyJobs[K]['result']

/** Who runs key operations: in place, or a pool. */
export interface KeyOperations {
  /** @throws GatewayError as {@link runKeyJob} */
  run<K extends KeyJobKind>(kind: K, job: KeyJobs[K]['job']): Promise<KeyResult<K>>
}

/** @throws GatewayError VES_UNLOCK, VES_CRYPTO, VES_UNSUPPORTED */
export function runKeyJob(task: KeyJob): KeyResult<KeyJobKind> {
  switch (task.kind) {
    case 'unlock': {
      const key = unlockPrivateKey(task.job.privateKey, task.job.veskey)
      return { key, values: task.job.sealed.map((sealed) => openFromVaultKey(key, asBuffer(sealed))) }
    }
    case 'open':
      return { values: task.job.sealed.map((sealed) => openFromVaultKey(task.job.key, asBuffer(sealed))) }
    case 'seal':
      return { sealed: sealToVaultKeys(task.job.keys, task.job.value) }
    case 'reseal': {
      const { from, to, sealed } = task.job
      return { sealed: sealed.map((one) => reseal(from, to, asBuffer(one))) }
    }
    case 'make':
      return makeVaultKey(task.job.kind, task.job.veskey, task.job.rounds ?? undefined)
    case 'read':
      return readPublicKey(task.job.publicKey)
    default:
      return unreachable(task)
  }
}

/** Key operations on the calling thread. */
export const inlineKeyOperations: KeyOperations = {
  async run(kind, job) {
    return runKeyJob({ kind, job } as KeyJob) as KeyResult<typeof kind>
  },
}

function reseal(from: VaultKey, to: VaultKey, sealed: Buffer): Buffer | null {
  let value: Buffer
  try {
    value = openFromVaultKey(from, sealed)
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'VES_CRYPTO') return null
    throw error
  }
  const anew = sealToVaultKey(to, value)
  value.fill(0)
  return anew
}

/** A Buffer loses its class on the way through a structured clone. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
