/**
 * The one place where the parts of a worker are joined: engine and net declare what they need, here it is given.
 */

import { availableParallelism, hostname } from 'node:os'
import type { ConfigFile, Service } from '../base/config/config-file.ts'
import { daemonConfig, isSet, programConfig } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { atOption, layersOf } from '../base/config/places.ts'
import { GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { BatchJob, BatchResult } from '../engine/seal/batch.ts'
import type { Session, SessionStart } from '../engine/session.ts'
import { certificatesIn } from '../net/certificate-file.ts'
import { ownCertificate } from '../net/certificates.ts'
import type { CertificateFiles } from '../net/judge-certificate.ts'
import type { NowParts } from '../net/now/now.ts'
import { OAuthKeys } from '../net/now/oauth-key.ts'
import { OAuthTokens } from '../net/oauth-tokens.ts'
import { type UpstreamTls, upstreamTls } from '../net/tls.ts'
import { VesClient } from '../ves/client/ves-client.ts'
import { CertificateStore } from './certificate-store.ts'
import { tuneCollector } from './collector.ts'
import { type ListenerParts, type Tenant, upstreamOptions } from './listener.ts'
import { Login } from './login.ts'
import { Metrics } from './metrics.ts'
import { nowSite } from './now-site.ts'
import { override } from './override.ts'
import { ThreadPool } from './pool.ts'
import { Protection } from './protection.ts'
import { sessionOf } from './session-kinds.ts'
import { SessionLimits } from './session-limits.ts'
import { SizeStore } from './size-store.ts'
import { Spools } from './spools.ts'
import { openState, redisUrl } from './state.ts'
import { turnsOf } from './turns.ts'

export const DEFAULT_STATE_DIRECTORY = '/var/lib/vesmail'

export interface Composition {
  readonly listenerParts: Pick<ListenerParts, 'certificates' | 'upstreamTls' | 'ownCertificate'>
  readonly login: Login
  readonly batch: (job: BatchJob, signal: AbortSignal) => Promise<BatchResult>
  readonly isPoolFull: () => boolean
  readonly metrics: Metrics
  readonly tokens: OAuthTokens
  readonly protection: Protection
  readonly limits: SessionLimits
  readonly sizes: SizeStore
  /** What the HTTP side answers a tenant's visitors with. */
  readonly nowSite: (tenant: Tenant, isSecure: boolean) => NowParts
  readonly spools: Spools
  readonly ves: VesClient
  session(service: Service, start: SessionStart): Session
  close(): Promise<void>
}

export interface ComposeOptions {
  readonly file: ConfigFile
  readonly log: Log
  readonly ticketKeys: Buffer
  /** How many processes like this one share the machine's cores. */
  readonly workers: number
  /** Tests give sessions of their own. */
  readonly session?: SessionFactory
}

export type SessionFactory = (service: Service, start: SessionStart) => Session

export function compose({ file, log, ticketKeys, workers, session }: ComposeOptions): Composition {
  tuneCollector()
  const config = programConfig(file)
  // First what may fail: nothing is open then that would have to be closed.
  const layers = layersOf(file, null)
  const vesSettings = vesOptions(file, log)
  const oauthFiles = config['oauth-key']
  const oauthKeys = oauthFiles === null ? null : atOption('oauth-key', layers, () => new OAuthKeys(oauthFiles))
  for (const open of oauthKeys?.warnings ?? []) {
    log.write('warn', 'configuration', { key: 'oauth-key', reason: `${open} can be read by others: chmod 600` })
  }
  const redis = atOption('redis', layers, () => redisUrl(config.redis))
  const threads = config['pool.threads'] || Math.max(1, Math.floor(availableParallelism() / workers))
  const pool = new ThreadPool({ threads, queue: config['pool.queue'], log })
  const metrics = new Metrics(() => pool.metrics)
  const ves = new VesClient({ ...vesSettings, keys: pool })
  const spools = new Spools(log)
  const state = openState(stateDirectory(config), redis, log)
  const batch = (job: BatchJob, signal: AbortSignal): Promise<BatchResult> => pool.batch(job, signal)
  let own: CertificateFiles | null = null
  const upstreams = new Map<string | null, UpstreamTls>()
  const sharedTls = (caBundle: string | null): UpstreamTls => {
    const known = upstreams.get(caBundle) ?? upstreamTls(caBundle)
    upstreams.set(caBundle, known)
    return known
  }
  return {
    listenerParts: {
      certificates: new CertificateStore(config['sni.cache'] + file.daemons.length, ticketKeys, log),
      upstreamTls: sharedTls,
      ownCertificate: () => {
        own ??= ownCertificate(stateDirectory(config), hostname(), Date.now())
        return own
      },
    },
    login: new Login({
      ves,
      domain: config['ves.domain'],
      openBearer: oauthKeys === null ? null : (bearer) => oauthKeys.open(bearer),
      override: (request) => override(request, upstreamOptions(request.tenant.config, sharedTls)),
    }),
    batch,
    isPoolFull: () => pool.isFull,
    spools,
    ves,
    nowSite: (tenant, isSecure) =>
      nowSite({
        config: tenant.config,
        isSecure,
        ves,
        oauthKeys,
        spool: spools.of(tenant.config),
        state,
        batch,
        log,
      }),
    metrics,
    tokens: new OAuthTokens({
      nowMs: Date.now,
      timeoutMs: config['limits.connectSeconds'] * 1000,
      turns: turnsOf(state),
    }),
    protection: new Protection(state),
    limits: new SessionLimits(state),
    sizes: new SizeStore(state),
    session: session ?? ((service, start) => sessionOf(service, start, metrics)),
    close: async () => {
      spools.close()
      metrics.close()
      await ves.close()
      await pool.close()
      await state.close()
    },
  }
}

/** @throws {GatewayError} CONFIG_INVALID */
export function apiUrl(api: string): string {
  if (/^https?:\/\//i.test(api) && URL.canParse(api)) return api
  throw new GatewayError('CONFIG_INVALID', { reason: 'expected https://host/v1/' })
}

/** @throws Error that says what is wrong with the file */
function authorities(file: string): string {
  return certificatesIn(file).join('\n')
}

/** Makes our own certificate where one is needed: once, before several workers would make one each. */
export function prepareCertificate(file: ConfigFile): void {
  const needed = file.daemons.some((entry) => {
    const config = daemonConfig(file, entry)
    return config['tls.level'] !== 'none' && config['tls.cert'] === null && config['tls.pkey'] === null
  })
  const make = () => ownCertificate(stateDirectory(programConfig(file)), hostname(), Date.now())
  if (needed) atOption('state', layersOf(file, null), make)
}

export function stateDirectory(config: Config): string {
  return config.state ?? DEFAULT_STATE_DIRECTORY
}

/** The embedded repository is the one to use where it is configured and no other is named. */
export function repositoryUrl(file: ConfigFile): string {
  const config = programConfig(file)
  const embedded = config['repository.listen']
  if (embedded === null || isSet('ves.api', file.all)) return config['ves.api']
  const host = embedded.host.includes(':') ? `[${embedded.host}]` : embedded.host
  return `http://${host}:${embedded.port}/v1/`
}

function vesOptions(file: ConfigFile, log: Log): ConstructorParameters<typeof VesClient>[0] {
  const config = programConfig(file)
  const newKeys = config['ves.newKeys']
  const ca = config['ves.caBundle']
  const layers = layersOf(file, null)
  return {
    api: atOption('ves.api', layers, () => apiUrl(repositoryUrl(file))),
    domain: config['ves.domain'],
    log,
    connections: config['ves.connections'],
    connectTimeoutMs: config['ves.connectSeconds'] * 1000,
    requestTimeoutMs: config['ves.requestSeconds'] * 1000,
    recipientCacheEntries: config['ves.recipientCacheEntries'],
    recipientCacheMs: config['ves.recipientCacheSeconds'] * 1000,
    messageKeyCacheEntries: config['ves.messageKeyCacheEntries'],
    ...(newKeys === null ? {} : { newKeys }),
    ...(ca === null ? {} : { ca: atOption('ves.caBundle', layers, () => authorities(ca)) }),
  }
}
