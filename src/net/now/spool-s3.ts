/**
 * The spool in an S3-compatible object store, for several machines: the same names as in a directory, below a prefix. An
 * object is there whole or not at all, which the store sees to; a long copy goes up in parts, of which one is in memory.
 *
 * The store's client is loaded when the first copy comes: it is large, and most installations have none.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { Agent } from 'node:https'
import type { S3Client } from '@aws-sdk/client-s3'
import { z } from 'zod'
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import {
  creatorFolder,
  messageFile,
  type Spool,
  type SpoolLimits,
  type SpoolPlace,
  type SpoolUsage,
  type SpoolWriter,
} from './spool.ts'
import { outlived } from './spool-retention.ts'
import { nameOf, statusOf, storeError } from './spool-s3-failure.ts'

export interface S3Options {
  /** http: or https:, host and port. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  /** Before each name, e.g. `spool/`; may be empty. */
  readonly prefix: string
  readonly credentials: S3Credentials
  /** File that replaces the trusted authorities; null: the system's. */
  readonly caBundle: string | null
}

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: Secret<string>
}

/** The least that S3 takes for a part that is not the last. Octets. */
const PART_OCTETS = 5 * 1024 * 1024
const CONNECT_MS = 5000
/** Without an octet. */
const REQUEST_MS = 30_000
const ATTEMPTS = 3
const MAX_SOCKETS = 64
const DELETES_AT_ONCE = 8
/** An upload in parts this old belongs to nobody any more: no session writes one mail for a day. */
const ABANDONED_MS = 86_400_000
/**
 * Behind the name of a copy whose upload in parts is being ended: many a store knows "if there is none" for a whole object
 * (the claim is one), and not for the end of an upload.
 */
const CLAIM = '.claim'
/** It is held for as long as three requests take: this old it was left by a crash. Stores' clocks and ours agree better. */
const CLAIM_LEFT_MS = 3_600_000
const COPY_NAME = /\/[0-9a-z]{32}$/
const COPY_OR_CLAIM_NAME = /\/[0-9a-z]{32}(?:\.claim)?$/

type Sdk = typeof import('@aws-sdk/client-s3')

interface Store {
  readonly sdk: Sdk
  readonly client: S3Client
  readonly bucket: string
}

export class S3Spool implements Spool {
  readonly #options: S3Options
  readonly #limits: SpoolLimits
  #store: Promise<Store> | null = null

  constructor(options: S3Options, limits: SpoolLimits) {
    this.#options = options
    this.#limits = limits
  }

  async create(place: SpoolPlace): Promise<SpoolWriter> {
    return new S3Writer(await this.#opened(), this.#key(place), this.#limits.maxOctets, this.#options)
  }

  async open(place: SpoolPlace) {
    const { sdk, client, bucket } = await this.#opened()
    try {
      const { Body, ContentLength } = await client.send(
        new sdk.GetObjectCommand({ Bucket: bucket, Key: this.#key(place) }),
      )
      return { octets: ContentLength ?? 0, body: Body as unknown as AsyncIterable<Buffer> }
    } catch (error) {
      if (nameOf(error) === 'NoSuchKey') return null
      throw storeError(error, this.#options)
    }
  }

  async usage(creator: string, enough: number): Promise<SpoolUsage> {
    try {
      const prefix = `${this.#options.prefix}${creatorFolder(creator)}/`
      const copies = await this.#copies(await this.#opened(), prefix, COPY_NAME, enough)
      return { copies: copies.length, octets: copies.reduce((total, { octets }) => total + octets, 0) }
    } catch (error) {
      throw storeError(error, this.#options)
    }
  }

  async expire(nowMs: number): Promise<number> {
    const store = await this.#opened()
    try {
      await this.#abandoned(store, nowMs)
      if (this.#limits.maxAgeMs === null && this.#limits.maxTotalOctets === null) return 0
      const gone = outlived(
        await this.#copies(store, this.#options.prefix, COPY_OR_CLAIM_NAME, Number.POSITIVE_INFINITY),
        this.#limits,
        nowMs,
      )
      const { sdk, client, bucket } = store
      for (let at = 0; at < gone.length; at += DELETES_AT_ONCE) {
        await Promise.all(
          gone
            .slice(at, at + DELETES_AT_ONCE)
            .map(({ key }) => client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: key }))),
        )
      }
      return gone.length
    } catch (error) {
      throw storeError(error, this.#options)
    }
  }

  /**
   * Does with an object of its own all that the spool will do, so that what is wrong shows before mail comes. A run that is
   * killed leaves that object, which is no copy and is never taken for one.
   * @throws {GatewayError} IO naming the step
   */
  async probe(): Promise<void> {
    const { sdk, client, bucket } = await this.#opened()
    const object = { Bucket: bucket, Key: `${this.#options.prefix}vesmail-check-${randomUUID()}` }
    const step = async <T>(name: string, run: () => Promise<T>): Promise<T> => {
      try {
        return await run()
      } catch (error) {
        throw storeError(error, this.#options, name)
      }
    }
    await step('put', () => client.send(new sdk.PutObjectCommand({ ...object, Body: PROBE_TEXT })))
    try {
      const text = await step('get', async () => {
        const { Body } = await client.send(new sdk.GetObjectCommand(object))
        return Body?.transformToString()
      })
      if (text !== PROBE_TEXT) {
        const reason = 'object store: get: what comes back is not what was put'
        throw new GatewayError('IO', { reason })
      }
      const list = new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: object.Key, MaxKeys: 1 })
      await step('list', () => client.send(list))
    } finally {
      await step('delete', () => client.send(new sdk.DeleteObjectCommand(object)))
    }
  }

  /** Ends connections that are at rest. */
  async close(): Promise<void> {
    const store = await this.#store
    store?.client.destroy()
  }

  #key({ creator, messageId }: SpoolPlace): string {
    return `${this.#options.prefix}${creatorFolder(creator)}/${messageFile(messageId)}`
  }

  #opened(): Promise<Store> {
    this.#store ??= openStore(this.#options)
    return this.#store
  }

  /** @param enough of them, to a page */
  async #copies({ sdk, client, bucket }: Store, prefix: string, name: RegExp, enough: number) {
    const found: { key: string; octets: number; writtenMs: number }[] = []
    let next: string | undefined
    do {
      const page = await client.send(
        new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: next }),
      )
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        // Only names of ours: the bucket may hold other things.
        if (Key === undefined || !name.test(Key)) continue
        found.push({ key: Key, octets: Size ?? 0, writtenMs: LastModified?.getTime() ?? 0 })
      }
      next = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (next !== undefined && found.length < enough)
    return found
  }

  /** What a crash left: parts that nobody can read, and that are paid for. */
  async #abandoned({ sdk, client, bucket }: Store, nowMs: number): Promise<void> {
    const list = new sdk.ListMultipartUploadsCommand({ Bucket: bucket, Prefix: this.#options.prefix })
    const listed = await unlessUnknown(client.send(list))
    for (const { Key, UploadId, Initiated } of listed?.Uploads ?? []) {
      if (nowMs - (Initiated?.getTime() ?? nowMs) <= ABANDONED_MS) continue
      await unlessUnknown(client.send(new sdk.AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId })))
    }
  }
}

interface ObjectPlace {
  readonly Bucket: string
  readonly Key: string
}

class S3Writer implements SpoolWriter {
  readonly #store: Store
  readonly #key: string
  readonly #options: S3Options
  /** Of the part that is being filled. */
  #pieces: Buffer[] = []
  #octets = 0
  #left: number
  #upload: string | null = null
  readonly #parts: { readonly ETag: string | undefined; readonly PartNumber: number }[] = []
  #isOver = false

  constructor(store: Store, key: string, maxOctets: number | null, options: S3Options) {
    this.#store = store
    this.#key = key
    this.#left = maxOctets ?? Number.POSITIVE_INFINITY
    this.#options = options
  }

  async write(bytes: Buffer): Promise<void> {
    const kept = bytes.subarray(0, Math.min(bytes.length, this.#left))
    this.#left -= kept.length
    if (kept.length === 0) return
    // Borrowed, so copied.
    this.#pieces.push(Buffer.from(kept))
    this.#octets += kept.length
    if (this.#octets >= PART_OCTETS) await this.#guarded(() => this.#sendPart())
  }

  commit(): Promise<boolean> {
    return this.#guarded(async () => {
      // Stores that do not know "if there is none" would replace it: asked before, too.
      if (await this.#isThere()) return false
      return this.#upload === null ? this.#sendWhole() : this.#complete()
    })
  }

  async abort(): Promise<void> {
    this.#pieces = []
    const upload = this.#upload
    this.#upload = null
    if (upload === null || this.#isOver) return
    const { sdk, client } = this.#store
    const abort = new sdk.AbortMultipartUploadCommand({ ...this.#place(), UploadId: upload })
    // Parts alone are no object, so that a store that cannot drop them (405, 501) shows nothing either.
    await this.#guarded(() => unlessUnknown(client.send(abort)))
  }

  #place(): ObjectPlace {
    return { Bucket: this.#store.bucket, Key: this.#key }
  }

  #takePart(): Buffer {
    const part = Buffer.concat(this.#pieces)
    this.#pieces = []
    this.#octets = 0
    return part
  }

  async #sendPart(): Promise<void> {
    const { sdk, client } = this.#store
    const Body = this.#takePart()
    this.#upload ??=
      (await client.send(new sdk.CreateMultipartUploadCommand({ ...this.#place(), ContentType: MESSAGE_TYPE })))
        .UploadId ?? null
    const PartNumber = this.#parts.length + 1
    const part = { ...this.#place(), UploadId: this.#upload ?? '', PartNumber, Body }
    const { ETag } = await client.send(new sdk.UploadPartCommand(part))
    this.#parts.push({ ETag, PartNumber })
  }

  async #isThere(): Promise<boolean> {
    return (await this.#head(this.#place())) !== null
  }

  async #head(object: ObjectPlace): Promise<{ readonly LastModified?: Date | undefined } | null> {
    const { sdk, client } = this.#store
    try {
      return await client.send(new sdk.HeadObjectCommand(object))
    } catch (error) {
      if (statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket') return null
      throw error
    }
  }

  async #sendWhole(): Promise<boolean> {
    const { sdk, client } = this.#store
    const object = { ...this.#place(), Body: this.#takePart(), ContentType: MESSAGE_TYPE }
    return exclusively((IfNoneMatch) => client.send(new sdk.PutObjectCommand({ ...object, ...IfNoneMatch })))
  }

  async #complete(): Promise<boolean> {
    if (this.#octets > 0) await this.#sendPart()
    const { sdk, client } = this.#store
    const upload = {
      ...this.#place(),
      UploadId: this.#upload ?? '',
      MultipartUpload: { Parts: [...this.#parts] },
    }
    const claim = { Bucket: upload.Bucket, Key: `${upload.Key}${CLAIM}` }
    if (!(await this.#claimed(claim))) {
      if (await this.#isThere()) return false
      // Whoever holds it may fail: that this copy is there must not be said, nor that it never will be.
      throw new GatewayError('IO', { reason: 'object store: another upload of the same copy is being ended' })
    }
    try {
      // Who had the claim before may be done.
      if (await this.#isThere()) return false
      this.#isOver = await exclusively((IfNoneMatch) =>
        client.send(new sdk.CompleteMultipartUploadCommand({ ...upload, ...IfNoneMatch })),
      )
      return this.#isOver
    } finally {
      // What became of the copy counts. A claim that stays bars this one alone, and not for long.
      await Promise.allSettled([client.send(new sdk.DeleteObjectCommand(claim))])
    }
  }

  /** @returns false while another is ending its upload of the same copy */
  async #claimed(claim: ObjectPlace): Promise<boolean> {
    const { sdk, client } = this.#store
    const put = (): Promise<boolean> =>
      exclusively((IfNoneMatch) => client.send(new sdk.PutObjectCommand({ ...claim, Body: '', ...IfNoneMatch })))
    if (await put()) return true
    const held = await this.#head(claim)
    if (held !== null) {
      const madeMs = held.LastModified?.getTime() ?? 0
      if (Date.now() - madeMs <= CLAIM_LEFT_MS) return false
      await client.send(new sdk.DeleteObjectCommand(claim))
    }
    return put()
  }

  async #guarded<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (error) {
      throw storeError(error, this.#options)
    }
  }
}

const MESSAGE_TYPE = 'message/rfc822'
const PROBE_TEXT = 'written by vesmail check; may be deleted\n'

/** @returns null where the store does not know this request */
async function unlessUnknown<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    const status = statusOf(error)
    if (status === 405 || status === 501) return null
    throw error
  }
}

/** @returns false where another object has the name */
async function exclusively(send: (condition: { readonly IfNoneMatch?: string }) => Promise<unknown>): Promise<boolean> {
  try {
    await send({ IfNoneMatch: '*' })
    return true
  } catch (error) {
    const status = statusOf(error)
    if (status === 412 || status === 409) return false
    if (status !== 501) throw error
    // It does not know the condition.
    await send({})
    return true
  }
}

async function openStore(options: S3Options): Promise<Store> {
  const sdk = await import('@aws-sdk/client-s3')
  const { endpoint, region, bucket, credentials, caBundle } = options
  const client = new sdk.S3Client({
    endpoint,
    region,
    credentials: {
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: credentials.secretAccessKey.expose(),
    },
    // Buckets as a path: stores of one's own seldom have a host name for each.
    forcePathStyle: true,
    maxAttempts: ATTEMPTS,
    // Newer checksums are sent in a form that not every store can read.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      requestTimeout: REQUEST_MS,
      ...(caBundle === null
        ? {}
        : { httpsAgent: new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, ca: readFileSync(caBundle) }) }),
    },
  })
  return { sdk, client, bucket }
}

const Credentials = z.object({ accessKeyId: z.string().min(1), secretAccessKey: z.string().min(1) })

/**
 * @param file JSON, `{"accessKeyId": …, "secretAccessKey": …}`
 * @returns `isOpen`: others than its owner can read it. @throws {GatewayError} CONFIG_INVALID naming the file
 */
export function readS3Credentials(file: string): { readonly credentials: S3Credentials; readonly isOpen: boolean } {
  try {
    const { accessKeyId, secretAccessKey } = Credentials.parse(JSON.parse(readFileSync(file, 'utf8')))
    const isOpen = (statSync(file).mode & 0o077) !== 0
    return { credentials: { accessKeyId, secretAccessKey: new Secret(secretAccessKey) }, isOpen }
  } catch (error) {
    // Never the parser's words: they quote what stands there.
    const reason = (error as NodeJS.ErrnoException).code ?? 'expected {"accessKeyId": "…", "secretAccessKey": "…"}'
    throw new GatewayError('CONFIG_INVALID', { key: 'now.s3.credentials', text: `${file}: ${reason}` })
  }
}
