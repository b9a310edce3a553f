/**
 * Which implementation of the chunk loop and the transfer codings is in force: the native addon where it was built
 * and loads, JavaScript otherwise. Decided once, at the first use; the log and `vesmail check` say which.
 *
 * The addon (`native/`) has no cryptography of its own: it loops over the AES-GCM and SHA-256 of Node's OpenSSL.
 */
import { createRequire } from 'node:module'
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

/** What `native/addon.c` exports. */
interface Addon extends ChunkCipher, TransferCodecs {
  readonly interfaceVersion: number
}

/** `INTERFACE_VERSION` of the addon that this code was written for. */
const INTERFACE_VERSION = 2
/** Built by the installation; or brought by a released package, where it was built beforehand. */
const PLACES = ['../../../build/vesmail.node', '../../../prebuilds/linux-x64/vesmail.node']

let inForce: FastPath | null = null
let reasonWithout = ''

/** The implementation in force. */
export function fastPath(): FastPath {
  inForce ??= nativePath() ?? javascriptPath(reasonWithout)
  return inForce
}

/** Puts an implementation in force: for tests, benches, and threads that must do as their worker does. */
export function useFastPath(path: FastPath): void {
  inForce = path
}

export function javascriptPath(reason: string): FastPath {
  return { kind: 'javascript', reason, chunks: jsChunkCipher, codecs: jsCodecs }
}

/** @returns null where there is no addon that works on this machine */
export function nativePath(): FastPath | null {
  const require = createRequire(import.meta.url)
  reasonWithout = 'no C compiler at installation'
  for (const place of PLACES) {
    try {
      const addon = require(place) as Addon
      if (addon.interfaceVersion !== INTERFACE_VERSION) reasonWithout = 'built from other sources: run npm rebuild'
      else if (!agrees(addon)) reasonWithout = 'its answers differ from those of JavaScript'
      else return { kind: 'native', reason: null, chunks: addon, codecs: addon }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') reasonWithout = (error as Error).message
    }
  }
  return null
}

/**
 * One stream sealed, opened and coded by both: an addon that was built wrong must not touch mail. Costs a millisecond
 * once a thread.
 */
function agrees(addon: Addon): boolean {
  const octets = Buffer.from(Array.from({ length: 2500 }, (_, i) => (i * 7) % 256))
  const key = octets.subarray(100, 144)
  const results = [addon, { ...jsChunkCipher, ...jsCodecs }].map((path: ChunkCipher & TransferCodecs) => {
    const sealed = Buffer.alloc(octets.length + 48)
    path.seal(key, new Uint8Array(16), octets, true, sealed)
    const opened = Buffer.alloc(octets.length)
    const openedOctets = path.open(key, new Uint8Array(16), sealed, true, opened)
    // Room for the widest, of which only what was written counts.
    const room = () => Buffer.alloc(9000)
    const written = (out: Buffer, octetsWritten: number) => out.subarray(0, octetsWritten)
    const column = new Uint32Array(1)
    let out = room()
    const base64 = written(out, path.encodeBase64(octets, true, 76, Buffer.from('\r\n'), true, column, out))
    out = room()
    const fromBase64 = written(out, path.decodeBase64(base64, new Uint32Array(2), true, out))
    out = room()
    const quoted = written(out, path.encodeQuotedPrintable(octets, true, new Uint32Array(2), out))
    out = room()
    const fromQuoted = written(out, path.decodeQuotedPrintable(quoted, true, column, out))
    const lengths = [
      path.countLineFeeds(octets),
      openedOctets,
      base64.length,
      fromBase64.length,
      quoted.length,
      fromQuoted.length,
    ]
    return Buffer.concat([Buffer.from(lengths.join()), sealed, opened, base64, fromBase64, quoted, fromQuoted])
  })
  return results[0]!.equals(results[1]!)
}
