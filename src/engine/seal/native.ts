/**
 * Which implementation of the chunk loop and the transfer codings is in force: the native addon where it was built
 * and loads, JavaScript otherwise. Decided once, at the first use; the log and `vesmail check` say which.
 */
import type { TransferCodecs } from '../mime/transfer/codecs.ts'
import { jsCodecs } from '../mime/transfer/js-codecs.ts'
import type { ChunkCipher } from './chunk-cipher.ts'
import { jsChunkCipher } from './chunk-js.ts'

export interface FastPath {
  readonly kind: 'native' | 'javascript'
  /** Why it is not the native one; null where it is. */
  readonly reason: string | null
  readonly chunks: ChunkCipher
  readonly codecs: TransferCodecs
}

let inForce: FastPath | null = null

/** The implementation in force. */
export function fastPath(): FastPath {
  inForce ??= nativePath() ?? javascriptPath('the addon is not built')
  return inForce
}

/** Puts an implementation in force, for tests, benches and threads that must do as their worker does. */
export function useFastPath(path: FastPath): void {
  inForce = path
}

export function javascriptPath(reason: string): FastPath {
  return { kind: 'javascript', reason, chunks: jsChunkCipher, codecs: jsCodecs }
}

/** @returns null where there is no addon for this machine */
export function nativePath(): FastPath | null {
  return null
}
