/**
 * What the HTTP side (net/now) needs, made from a tenant's options: spool, manifest, keys to open with. One per tenant
 * and way of connecting; kept while the tenant is.
 */

import { readFileSync } from 'node:fs'
import type { ConfigFile } from '../base/config/config-file.ts'
import type { Config } from '../base/config/options.ts'
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Secret } from '../base/secret.ts'
import { vesUri } from '../engine/account-name.ts'
import { runTransform } from '../engine/run-transform.ts'
import type { BatchJob, BatchResult } from '../engine/seal/batch.ts'
import { Opener } from '../engine/seal/opener.ts'
import { parseHeaderLine } from '../net/now/answers.ts'
import type { OpenedVault } from '../net/now/download.ts'
import { cachedItem } from '../net/now/item-cache.ts'
import type { NowParts } from '../net/now/now.ts'
import type { OAuthKeys } from '../net/now/oauth-key.ts'
import type { Spool } from '../net/now/spool.ts'
import { askSpooledItem, askUploadedItem } from '../net/now/spooled-item.ts'
import type { UploadParts } from '../net/now/upload.ts'
import { type Viewer, viewer } from '../net/now/viewer.ts'
import type { VesClient } from '../ves/client/ves-client.ts'
import { type ViewerFiles, viewerFiles } from '../viewer/bundle.ts'
import type { SharedState } from './shared-state.ts'
import { UploadQuota } from './upload-quota.ts'

export interface NowSiteParts {
  readonly config: Config
  readonly isSecure: boolean
  readonly ves: VesClient
  readonly oauthKeys: OAuthKeys | null
  readonly spool: Spool | null
  readonly state: SharedState
  readonly batch: (job: BatchJob, signal: AbortSignal) => Promise<BatchResult>
  readonly log: Log
}

export function nowSite({ config, isSecure, ves, oauthKeys, spool, state, batch, log }: NowSiteParts): NowParts {
  const { domain } = ves
  const item = cachedItem(
    (messageId, bearer) => askSpooledItem((request) => ves.api.request({ ...request, bearer }), domain, messageId),
    () => performance.now(),
  )
  return {
    isSecure,
    headers: (config['now.headers'] ?? []).flatMap((line) => {
      const header = parseHeaderLine(line)
      if (header === null) log.write('error', 'configuration', { key: 'now.headers', reason: 'not "Name: value"' })
      return header === null ? [] : [header]
    }),
    manifest: manifestOf(config['now.manifest'], log),
    e2eUrl: config['now.e2e'],
    oauthKey: oauthKeys?.publicKey ?? null,
    viewer: spool === null ? null : viewerOf(config, ves, log),
    repository: spool === null ? null : (request) => ves.api.request(request),
    spool:
      spool === null
        ? null
        : {
            spool,
            item,
            uploadedItem: (messageId, bearer) =>
              askUploadedItem((request) => ves.api.request({ ...request, bearer }), domain, messageId),
            maxOctets: config['now.uploads.maxsize'],
            admit: uploadsTo(spool, config, state),
            unlock: (externalId, veskey) => openVault(ves, externalId, veskey, batch),
          },
    log,
  }
}

function uploadsTo(spool: Spool, config: Config, state: SharedState): UploadParts['admit'] {
  const quota = new UploadQuota(spool, state, {
    perMinute: config['now.uploads.perMinute'] || null,
    messages: config['now.uploads.messages'] || null,
    octets: config['now.uploads.bytes'] || null,
  })
  return (creator) => quota.admit(creator)
}

/** The same for all tenants. */
let files: ViewerFiles | null = null

/** Makes the viewer's files where they are needed and not there: once, before several workers would. */
export function prepareViewer(file: ConfigFile, log: Log): void {
  if (file.daemons.some(({ service }) => service === 'now')) viewerOr(log)
}

/** null, and mail goes on, where the files cannot be had. */
function viewerOr(log: Log): ViewerFiles | null {
  try {
    files ??= viewerFiles()
  } catch (error) {
    log.write('error', 'now', { reason: `no viewer: ${messageOf(error)}` })
  }
  return files
}

function viewerOf(config: Config, ves: VesClient, log: Log): Viewer | null {
  const made = viewerOr(log)
  const maxOctets = config['now.maxsize']
  return made === null
    ? null
    : viewer(made, {
        domain: ves.domain,
        newKeys: ves.newKind === 'P-521' ? 'compatible' : 'post-quantum',
        spoolOctets: maxOctets > 0 ? maxOctets : null,
      })
}

async function openVault(
  ves: VesClient,
  externalId: string,
  veskey: Secret<Buffer>,
  batch: NowSiteParts['batch'],
): Promise<OpenedVault> {
  const session = await ves.unlock(`${vesUri(ves.domain, externalId)}/`, veskey)
  const signal = new AbortController().signal
  return {
    item: (messageId) => askSpooledItem((request) => session.request(request), ves.domain, messageId),
    open: (sealed) =>
      runTransform(new Opener({ maxbufOctets: 1024 * 1024 }), sealed, {
        'open-key': async ({ messageId, xchg }) => ({ key: await session.messageKey(messageId, xchg) }),
        batch: (job) => batch(job, signal),
      }),
  }
}

/** An object, literal JSON, or a file's name; what is no JSON is not published. */
/** Never throws: without what cannot be used, which the log is told. */
export function manifestOf(manifest: Config['now.manifest'], log: Log): string | null {
  if (manifest === null) return null
  if (typeof manifest !== 'string') return JSON.stringify(manifest)
  try {
    const text = manifest.trimStart().startsWith('{') ? manifest : readFileSync(manifest, 'utf8')
    JSON.parse(text)
    return text
  } catch (error) {
    const reason = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? 'not JSON') : 'unreadable'
    log.write('error', 'configuration', { key: 'now.manifest', reason })
    return null
  }
}
