/**
 * What a listener and the host that the client named make of a connection: options, mail settings, certificate.
 */
import type { ConfigFile, DaemonEntry, Service } from '../base/config/config-file.ts'
import { daemonConfig, hostConfig } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { atOption, type Layer, layersOf, reasonOf, whereCertificate } from '../base/config/places.ts'
import { GatewayError } from '../base/errors.ts'
import { listenerKey } from '../base/hand-over.ts'
import type { Log } from '../base/log.ts'
import type { MailSettings } from '../engine/settings.ts'
import { Networks } from '../net/address.ts'
import { judgeCertificate } from '../net/judge-certificate.ts'
import { ProviderNetworks } from '../net/provider-networks.ts'
import type { ServerTls, UpstreamTls } from '../net/tls.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import { loadBanners } from './banners.ts'
import type { CertificateStore } from './certificate-store.ts'
import { HostFiles } from './host-files.ts'
import { mailSettings } from './mail-settings.ts'

/** Who the client wanted to reach: the listener itself, or a host with a file of its own. */
export interface Tenant {
  /** null: the main configuration. */
  readonly host: string | null
  readonly config: Config
  readonly settings: MailSettings
}

export interface ListenerParts {
  readonly file: ConfigFile
  readonly certificates: CertificateStore
  /** By caBundle, shared: a context each would cost 19 KiB. */
  readonly upstreamTls: (caBundle: string | null) => UpstreamTls
  /** Where no certificate is configured. */
  readonly ownCertificate: () => { readonly cert: string; readonly pkey: string }
  readonly log: Log
}

export class Listener {
  readonly key: string
  readonly service: Service
  readonly port: number
  readonly main: Tenant
  readonly proxies: Networks
  readonly upstream: UpstreamOptions
  readonly #parts: ListenerParts
  readonly #hosts: HostFiles<Tenant> | null
  readonly #entry: DaemonEntry

  /** @throws {GatewayError} CONFIG_INVALID */
  constructor(entry: DaemonEntry, parts: ListenerParts) {
    const config = daemonConfig(parts.file, entry)
    this.#entry = entry
    this.#parts = parts
    this.key = listenerKey(entry.host, entry.port)
    this.service = entry.service
    this.port = entry.port
    this.main = { host: null, config, settings: mailSettings(config, loadBanners(config, parts.log)) }
    const layers = layersOf(parts.file, entry)
    this.proxies = atOption('proxy-protocol.from', layers, () => new Networks(config['proxy-protocol.from'] ?? []))
    const tls = atOption('caBundle', layers, () => parts.upstreamTls(config.caBundle))
    this.upstream = atOption('limits.providerNetworks', layers, () => upstreamOptions(config, () => tls))
    const prefix = config['sni.prefix']
    const suffix = config['sni.suffix']
    this.#hosts =
      prefix === null && suffix === null
        ? null
        : new HostFiles(
            { prefix: prefix ?? '', suffix: suffix ?? '', maxEntries: config['sni.cache'], log: parts.log },
            (file, host) => this.#tenant(file, host),
          )
  }

  get hasTls(): boolean {
    return this.main.config['tls.level'] !== 'none'
  }

  /** TLS from the first octet. */
  get isImplicit(): boolean {
    return this.hasTls && this.main.config['tls.persist']
  }

  /**
   * For one connection. @param chosen told which tenant the client's handshake chose
   * @throws {GatewayError} CONFIG_INVALID
   */
  async tls(chosen: (tenant: Tenant) => void): Promise<ServerTls | null> {
    if (!this.hasTls) return null
    const context = await this.#context(this.main.config)
    if (this.#hosts === null) return { context }
    const hosts = this.#hosts
    return {
      context,
      select: async (servername) => {
        const tenant = await hosts.find(servername)
        if (tenant === null) {
          if (this.main.config['sni.require']) throw new GatewayError('IO', { reason: 'unknown host name' })
          return context
        }
        const own = await this.#context(tenant.config)
        chosen(tenant)
        return own
      },
    }
  }

  /** Loads the certificate. @throws {GatewayError} CONFIG_INVALID where it cannot be used */
  async check(): Promise<void> {
    const { file } = this.#parts
    if (this.hasTls) await this.#checkPair(this.main.config, layersOf(file, this.#entry), file.file)
  }

  /** @param file whose options these are. @throws {GatewayError} CONFIG_INVALID naming the line, what is wrong and what to do */
  async #checkPair(config: Config, layers: readonly Layer[], file: string): Promise<void> {
    const pair = certificateOf(config, () => atOption('state', layers, this.#parts.ownCertificate))
    try {
      await this.#context(config)
    } catch (error) {
      const { problem } = judgeCertificate(pair, Date.now())
      const { of, text } = problem ?? { of: 'cert' as const, text: reasonOf(error) }
      throw new GatewayError('CONFIG_INVALID', { reason: `${whereCertificate(of, layers, file)}: ${text}` }, error)
    }
  }

  #context(config: Config): Promise<ServerTls['context']> {
    const isResumable = this.#hosts === null
    const minVersion = config['tls.min'] === '1.3' ? 'TLSv1.3' : 'TLSv1.2'
    return this.#parts.certificates.context({
      ...certificateOf(config, this.#parts.ownCertificate),
      minVersion,
      isResumable,
    })
  }

  async #tenant(file: ConfigFile, host: string): Promise<Tenant> {
    const config = hostConfig(this.#parts.file, this.#entry, file)
    // A pair that does not work shall be found now, not with a client at the door.
    await this.#checkPair(config, layersOf(this.#parts.file, this.#entry, file), file.file)
    return { host, config, settings: mailSettings(config, loadBanners(config, this.#parts.log)) }
  }
}

/** How providers are reached, and what else a profile names. @throws {GatewayError} CONFIG_INVALID */
export function upstreamOptions(config: Config, tls: (caBundle: string | null) => UpstreamTls): UpstreamOptions {
  return {
    tls: tls(config.caBundle),
    timeoutMs: config['limits.connectSeconds'] * 1000,
    networks: new ProviderNetworks(config['limits.providerNetworks'] ?? []),
  }
}

/** One file may hold both: then either key names it. */
export function certificateOf(
  config: Config,
  own: () => { readonly cert: string; readonly pkey: string },
): { readonly cert: string; readonly pkey: string } {
  const cert = config['tls.cert'] ?? config['tls.pkey']
  const pkey = config['tls.pkey'] ?? config['tls.cert']
  return cert === null || pkey === null ? own() : { cert, pkey }
}
