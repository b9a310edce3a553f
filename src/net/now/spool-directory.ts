/**
 * The spool in a directory, in the layout of the C implementation: an existing one keeps working (now.md).
 *
 * A copy is written under a name that no reader asks for and linked to its own when it is whole, so that a crash leaves
 * nothing readable half; what a crash left is swept by {@link DirectorySpool.expire}.
 */
import { randomBytes } from 'node:crypto'
import { type FileHandle, link, mkdir, open, readdir, rmdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../make-folder.ts'
import {
  creatorFolder,
  messageFile,
  type ShortCopy,
  type Spool,
  type SpoolCopy,
  type SpoolLimits,
  type SpoolPlace,
  type SpoolUsage,
  type SpoolWriter,
} from './spool.ts'
import { outlived } from './spool-retention.ts'
import { WarmFiles } from './warm-files.ts'

const DIRECTORY_MODE = 0o750
const FILE_MODE = 0o640
/** Names of unfinished copies: a message's own name has no dot. */
const UNFINISHED = '.part'
/** An unfinished copy this old belongs to nobody any more: no session writes one mail for a day. */
const ABANDONED_MS = 86_400_000
const READ_OCTETS = 64 * 1024
/** Up to here a copy is read at once, and answered in one piece. Octets. */
const MAX_WHOLE_OCTETS = 64 * 1024
/** Of all spools of this process: what they remember together is bounded. */
const warm = new WarmFiles(MAX_WHOLE_OCTETS)

export class DirectorySpool implements Spool {
  readonly #directory: string
  readonly #limits: SpoolLimits

  constructor(directory: string, limits: SpoolLimits) {
    this.#directory = directory
    this.#limits = limits
  }

  async create({ creator, messageId }: SpoolPlace): Promise<SpoolWriter> {
    const folder = join(this.#directory, creatorFolder(creator))
    const unfinished = join(folder, `.${randomBytes(12).toString('hex')}${UNFINISHED}`)
    const begin = async (): Promise<FileHandle> => {
      try {
        await orNull(mkdir(folder, { mode: DIRECTORY_MODE }), 'EEXIST')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        // The first copy of all.
        makeFolder(folder, DIRECTORY_MODE)
      }
      return open(unfinished, 'wx', FILE_MODE)
    }
    // Once more where `expire` removed the empty folder in between.
    const file = (await orNull(begin(), 'ENOENT')) ?? (await begin())
    return new FileWriter(file, unfinished, join(folder, messageFile(messageId)), this.#limits.maxOctets)
  }

  readNow(place: SpoolPlace): ShortCopy | null {
    return warm.read(this.#pathOf(place))
  }

  async open(place: SpoolPlace): Promise<SpoolCopy | null> {
    const read = this.readNow(place)
    if (read !== null) return inMemory(read.octets)
    const path = this.#pathOf(place)
    const file = await orNull(open(path, 'r'), 'ENOENT', 'ENOTDIR')
    if (file === null) return null
    try {
      const { size } = await file.stat()
      if (size > MAX_WHOLE_OCTETS) return { octets: size, body: chunksOf(file) }
    } catch (error) {
      await file.close()
      throw error
    }
    const parts: Buffer[] = []
    for await (const part of chunksOf(file)) parts.push(part)
    warm.warmed(path)
    return inMemory(Buffer.concat(parts))
  }

  #pathOf({ creator, messageId }: SpoolPlace): string {
    return `${this.#directory}/${creatorFolder(creator)}/${messageFile(messageId)}`
  }

  async usage(creator: string, enough: number): Promise<SpoolUsage> {
    const folder = join(this.#directory, creatorFolder(creator))
    let copies = 0
    let octets = 0
    for (const name of (await orNull(readdir(folder), 'ENOENT')) ?? []) {
      if (copies >= enough) break
      const info = name.endsWith(UNFINISHED) ? null : await orNull(stat(join(folder, name)), 'ENOENT')
      if (info?.isFile() !== true) continue
      copies++
      octets += info.size
    }
    return { copies, octets }
  }

  async expire(nowMs: number): Promise<number> {
    const copies = await this.#copies()
    const gone = outlived(
      copies.filter(({ finished }) => finished),
      this.#limits,
      nowMs,
    )
    const abandoned = copies.filter(({ finished, writtenMs }) => !finished && nowMs - writtenMs > ABANDONED_MS)
    for (const { path } of [...gone, ...abandoned]) await orNull(unlink(path), 'ENOENT')
    for (const folder of await foldersIn(this.#directory)) await orNull(rmdir(folder), 'ENOTEMPTY', 'ENOENT', 'EEXIST')
    return gone.length
  }

  async close(): Promise<void> {}

  async #copies() {
    const found: { path: string; octets: number; writtenMs: number; finished: boolean }[] = []
    for (const folder of await foldersIn(this.#directory)) {
      for (const name of (await orNull(readdir(folder), 'ENOENT')) ?? []) {
        const path = join(folder, name)
        const info = await orNull(stat(path), 'ENOENT')
        if (info?.isFile() !== true) continue
        found.push({ path, octets: info.size, writtenMs: info.mtimeMs, finished: !name.endsWith(UNFINISHED) })
      }
    }
    return found
  }
}

class FileWriter implements SpoolWriter {
  readonly #file: FileHandle
  readonly #unfinished: string
  readonly #path: string
  #left: number
  #open = true

  constructor(file: FileHandle, unfinished: string, path: string, maxOctets: number | null) {
    this.#file = file
    this.#unfinished = unfinished
    this.#path = path
    this.#left = maxOctets ?? Number.POSITIVE_INFINITY
  }

  async write(bytes: Buffer): Promise<void> {
    const kept = bytes.length <= this.#left ? bytes : bytes.subarray(0, this.#left)
    this.#left -= kept.length
    for (let at = 0; at < kept.length; ) at += (await this.#file.write(kept, at)).bytesWritten
  }

  async commit(): Promise<boolean> {
    await this.#file.sync()
    // Unlike rename, link never replaces what is there.
    const linked = await link(this.#unfinished, this.#path).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return false
        throw error
      },
    )
    await this.abort()
    return linked
  }

  async abort(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#file.close()
    await orNull(unlink(this.#unfinished), 'ENOENT')
  }
}

function inMemory(whole: Buffer): SpoolCopy {
  return { octets: whole.length, body: piece(whole), whole }
}

async function* piece(whole: Buffer): AsyncGenerator<Buffer> {
  if (whole.length > 0) yield whole
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  try {
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(READ_OCTETS), 0, READ_OCTETS)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}

async function foldersIn(directory: string): Promise<string[]> {
  const entries = (await orNull(readdir(directory, { withFileTypes: true }), 'ENOENT')) ?? []
  return entries.filter((entry) => entry.isDirectory()).map((entry) => join(directory, entry.name))
}

/** These errors mean "not there"; any other is one. */
async function orNull<T>(promise: Promise<T>, ...codes: string[]): Promise<T | null> {
  try {
    return await promise
  } catch (error) {
    if (codes.includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}
