/**
 * Where a session puts sealed octets that do not fit its memory: a file without a name, in the system's folder for such,
 * gone with its descriptor whatever happens (imap.md §3, APPEND). Only ciphertext ever comes here.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, statfs, unlink } from 'node:fs/promises'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayError } from '../base/errors.ts'

/** Left to everybody else on the file system. */
const SPARE_OCTETS = 64 * 1024 * 1024

export class SpillFile {
  readonly #maxOctets: number
  #file: Promise<FileHandle> | null = null
  #octets = 0

  /** @param maxOctets of this session: a disk is not for one client to fill */
  constructor(maxOctets: number) {
    this.#maxOctets = maxOctets
  }

  /** What lies in it. */
  get octets(): number {
    return this.#octets
  }

  /** Appends, in the order of the calls. Rejects with BUFFER_EXCEEDED, or IO where there is no space. */
  async write(bytes: Buffer): Promise<void> {
    const at = this.#octets
    this.#octets += bytes.length
    if (this.#octets > this.#maxOctets) throw new GatewayError('BUFFER_EXCEEDED', { octets: this.#octets })
    try {
      this.#file ??= nameless()
      await (await this.#file).write(bytes, 0, bytes.length, at)
    } catch (error) {
      throw ioError(error)
    }
  }

  /** Would so many more find space? Rejects as {@link write} would. */
  async reserve(octets: number): Promise<void> {
    if (this.#octets + octets > this.#maxOctets) {
      throw new GatewayError('BUFFER_EXCEEDED', { octets: this.#octets + octets })
    }
    try {
      this.#file ??= nameless()
      await this.#file
      const { bavail, bsize } = await statfs(tmpdir())
      if (bavail * bsize < octets + SPARE_OCTETS) throw noSpace()
    } catch (error) {
      // The next message tries anew.
      if (this.#octets === 0) await this.clear()
      throw ioError(error)
    }
  }

  /** Exactly these octets, written before. */
  async read(offset: number, octets: number): Promise<Buffer> {
    try {
      if (this.#file === null) throw new Error('nothing was written')
      const bytes = Buffer.allocUnsafe(octets)
      const { bytesRead } = await (await this.#file).read(bytes, 0, octets, offset)
      if (bytesRead !== octets) throw new Error('short read')
      return bytes
    } catch (error) {
      throw ioError(error)
    }
  }

  /** Gives the space back; the next write begins a new file. Never rejects. */
  async clear(): Promise<void> {
    const file = this.#file
    this.#file = null
    this.#octets = 0
    if (file === null) return
    await file.then((handle) => handle.close()).catch(() => undefined)
  }
}

async function nameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `vesmail-${randomBytes(12).toString('hex')}`)
  const file = await open(path, 'wx+', 0o600)
  await unlink(path)
  return file
}

function noSpace(): Error {
  return Object.assign(new Error('no space for the file'), { code: 'ENOSPC', errno: -constants.errno.ENOSPC })
}

function ioError(error: unknown): GatewayError {
  const { code, errno } = error as NodeJS.ErrnoException
  return new GatewayError('IO', { reason: code ?? 'spill', errno: errno === undefined ? 0 : -errno }, error)
}
