/**
 * TLS on both sides. Towards clients: one secure context per listener's certificate. Towards providers: one context
 * for all connections (a context each costs 19 KiB), verification by the profile's level (daemon.md §3, §7).
 */
import { constants } from 'node:crypto'
import { isIP, type Socket } from 'node:net'
import { connect, createSecureContext, getCACertificates, type SecureContext, TLSSocket } from 'node:tls'
import { GatewayError } from '../base/errors.ts'
import type { TlsLevel } from '../engine/account.ts'
import type { ChannelBinding } from '../engine/sasl/client.ts'
import type { CertificateView } from '../engine/session.ts'
import { certificatesIn } from './certificate-file.ts'

const MIN_VERSION = 'TLSv1.2'
/** A handshake takes two round trips; slower ones are an attack on our memory or a dead line. */
const HANDSHAKE_MS = 15_000

export interface ServerTls {
  readonly context: SecureContext
  /**
   * Called with the name that the client asked for, before the handshake completes. Rejects to refuse the name.
   * `context` must not be resumable then: OpenSSL asks for no certificate when a session is resumed, and in TLS 1.2 does
   * not even tell the name, so that a host's client would be taken for the main configuration's.
   */
  readonly select?: (servername: string) => Promise<SecureContext>
}

export interface ServerTlsOptions {
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** 48 octets that all workers share: a session ticket of one is then good at each. */
  readonly ticketKeys?: Buffer
  /** Default: yes. */
  readonly isResumable?: boolean
}

/** @param cert PEM, chain included. @throws Error for a certificate and key that do not go together */
export function serverTls(cert: Buffer, pkey: Buffer, options: ServerTlsOptions = {}): ServerTls {
  const { minVersion = MIN_VERSION, ticketKeys, isResumable = true } = options
  const context = createSecureContext({
    cert,
    key: pkey,
    minVersion,
    honorCipherOrder: true,
    sessionIdContext: 'vesmail',
    // No state is kept either, so there is nothing to resume from.
    ...(isResumable ? {} : { secureOptions: constants.SSL_OP_NO_TICKET }),
    ...(ticketKeys === undefined ? {} : { ticketKeys }),
  })
  return { context }
}

export interface UpstreamTls {
  readonly context: SecureContext
}

/**
 * @param caBundle PEM file that replaces the trusted authorities; null: Node's and the system's
 * @throws Error that says what is wrong with the file: OpenSSL takes one without certificates, and then trusts nobody
 */
export function upstreamTls(caBundle: string | null): UpstreamTls {
  const ca =
    caBundle === null
      ? [...new Set([...getCACertificates('default'), ...getCACertificates('system')])]
      : certificatesIn(caBundle).map((one) => one.toString())
  return { context: createSecureContext({ ca, minVersion: MIN_VERSION }) }
}

/** Does this level ask for a certificate that we can trust? */
export function isVerified(level: TlsLevel): boolean {
  return level === 'medium' || level === 'high'
}

/** Server side of a handshake, from the first octet or after STARTTLS. Rejects with IO; the socket is gone then. */
export function acceptTls(plain: Socket, tls: ServerTls): Promise<TLSSocket> {
  const { context, select } = tls
  const socket = new TLSSocket(plain, {
    isServer: true,
    secureContext: context,
    ...(select === undefined
      ? {}
      : {
          SNICallback: (name, done) => {
            select(name).then(
              (selected) => done(null, selected),
              (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
            )
          },
        }),
  })
  return handshake(socket, 'secure', (reason, cause) => new GatewayError('IO', { side: 'client', reason }, cause))
}

/** Client side of a handshake. Rejects with UPSTREAM_TLS; the socket is gone then. */
export function startTls(plain: Socket, host: string, level: TlsLevel, tls: UpstreamTls): Promise<TLSSocket> {
  const socket = connect({
    socket: plain,
    // The name that the certificate must carry; as SNI an address is not allowed (RFC 6066 §3).
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    secureContext: tls.context,
    rejectUnauthorized: isVerified(level),
  })
  return handshake(
    socket,
    'secureConnect',
    (reason, cause) => new GatewayError('UPSTREAM_TLS', { host, reason }, cause),
  )
}

/** RFC 9266: what binds an authentication to this TLS 1.3 connection; null for older ones, whose bindings are weaker. */
export function channelBinding(socket: TLSSocket): ChannelBinding | null {
  if (socket.getProtocol() !== 'TLSv1.3') return null
  return { name: 'tls-exporter', data: socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)) }
}

/** For people: who the provider says it is, and whether that can be believed. */
export function certificateView(socket: TLSSocket, host: string): CertificateView {
  const { subject, issuer } = socket.getPeerCertificate()
  const named = (name: object | undefined): string =>
    Object.entries(name ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(', ')
  const trouble = socket.authorizationError as Error | string | null
  const verify =
    trouble === null || trouble === undefined ? '0 ok' : `1 ${trouble instanceof Error ? trouble.message : trouble}`
  return { host, subject: named(subject), issuer: named(issuer), verify }
}

function handshake(
  socket: TLSSocket,
  secure: 'secure' | 'secureConnect',
  failure: (reason: string, cause?: unknown) => GatewayError,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown): void => {
      settle()
      socket.on('error', () => {})
      socket.destroy()
      reject(failure(reason, cause))
    }
    const failed = (error: NodeJS.ErrnoException): void => fail(error.code ?? error.message, error)
    const closed = (): void => fail('closed')
    const timer = setTimeout(() => fail('timeout'), HANDSHAKE_MS)
    const settle = (): void => {
      clearTimeout(timer)
      socket.off('error', failed).off('_tlsError', failed).off('close', closed).off('end', closed)
    }
    socket.on('error', failed).on('_tlsError', failed).on('close', closed).on('end', closed)
    socket.once(secure, () => {
      settle()
      resolve(socket)
    })
  })
}
