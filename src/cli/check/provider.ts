/**
 * Can a mail server be reached as sessions would reach it: from allowed networks, with a greeting, TLS from the first
 * octet (ports 993 and 465) or by STARTTLS, and a certificate that is trusted at level `high` (daemon.md §3)?
 */

import type { Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { ConfigFile } from '../../base/config/config-file.ts'
import { mergeBlocks } from '../../base/config/merge.ts'
import { parseAddress } from '../../base/config/option.ts'
import { reasonOf } from '../../base/config/places.ts'
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import { ProviderNetworks } from '../../net/provider-networks.ts'
import { startTls, type UpstreamTls, upstreamTls } from '../../net/tls.ts'
import { connectUpstream } from '../../net/upstream.ts'
import { adviceOn } from './reach.ts'
import type { Report } from './report.ts'

const IMAP_PORTS: readonly number[] = [143, 993]
const IMPLICIT_TLS_PORTS: readonly number[] = [465, 993]
const MAX_LINES = 100

interface Target {
  readonly host: string
  readonly port: number
}

export async function checkProvider(name: string, file: ConfigFile, report: Report, timeoutMs: number): Promise<void> {
  const target = parseAddress(name.replace(/\/tls$/, ''))
  if (target === null) {
    report.tell('FAIL', `provider ${name}: expected host:port, e.g. imap.example.org:993`)
    return
  }
  const service = IMAP_PORTS.includes(target.port) ? 'imap' : 'smtp'
  const config = mergeBlocks(file.all, file.services[service])
  const signal = AbortSignal.timeout(3 * timeoutMs)
  let socket: Socket | null = null
  try {
    const persist = name.endsWith('/tls') || IMPLICIT_TLS_PORTS.includes(target.port)
    const tls = upstreamTls(config.caBundle)
    const networks = new ProviderNetworks(config['limits.providerNetworks'] ?? [])
    const connected = await connectUpstream({ ...target, level: 'high', persist }, { tls, timeoutMs, networks }, signal)
    socket = connected.socket
    // A server that says nothing, or too much.
    const late = AbortSignal.timeout(2 * timeoutMs)
    late.addEventListener('abort', () => socket?.destroy(new Error('timeout')))
    const found = await greet(socket, target, connected.tls, tls)
    report.tell(found.level, `provider ${name}: ${found.text}, at ${connected.address}`)
  } catch (error) {
    const { code } = asGatewayError(error)
    const reason = reasonOf(error)
    const advice = adviceOn(reason, { address: 'the address', ca: 'caBundle' })
    report.tell('FAIL', `provider ${name}: ${code === 'UPSTREAM_TLS' ? 'TLS: ' : ''}${advice}`)
  } finally {
    socket?.on('error', () => {}).destroy()
  }
}

async function greet(
  socket: Socket,
  { host }: Target,
  hasTls: boolean,
  tls: UpstreamTls,
): Promise<{ readonly level: 'ok' | 'warn'; readonly text: string }> {
  const lines = new Lines(socket)
  const greeting = await lines.until(/^(?:\* (?:OK|PREAUTH|BYE)|\d{3} )/)
  const isImap = greeting.startsWith('* ')
  if (!/^(?:\* (?:OK|PREAUTH)|220 )/.test(greeting)) throw unexpected(greeting)
  const protocol = isImap ? 'IMAP' : 'SMTP'
  if (hasTls) return { level: 'ok', text: `${protocol}, TLS, its certificate is trusted` }
  if (!isImap) {
    socket.write('EHLO vesmail-check\r\n')
    await lines.until(/^250 /)
  }
  socket.write(isImap ? 'a STARTTLS\r\n' : 'STARTTLS\r\n')
  const answer = await lines.until(isImap ? /^a / : /^\d{3} /)
  if (!/^(?:a OK|220)/i.test(answer)) {
    return { level: 'warn', text: `${protocol} without STARTTLS: profiles need tls.level "none" or "optional" there` }
  }
  lines.release()
  const secured = await startTls(socket, host, 'high', tls)
  secured.on('error', () => {}).destroy()
  return { level: 'ok', text: `${protocol}, STARTTLS, its certificate is trusted` }
}

function unexpected(line: string): GatewayError {
  const shown = line.slice(0, 100).replace(/[^\x20-\x7e]/g, '?')
  return new GatewayError('UPSTREAM_UNEXPECTED', { reason: `no mail server's greeting: "${shown}"` })
}

/** Lines of a server, as they come. */
class Lines {
  readonly #socket: Socket
  readonly #interface: ReturnType<typeof createInterface>
  readonly #lines: AsyncIterator<string>

  constructor(socket: Socket) {
    this.#socket = socket
    this.#interface = createInterface({ input: socket })
    // Of a socket that breaks readline hears nothing.
    socket.on('error', () => {}).once('close', () => this.#interface.close())
    this.#lines = this.#interface[Symbol.asyncIterator]()
  }

  async until(wanted: RegExp): Promise<string> {
    for (let count = 0; count < MAX_LINES; count++) {
      const { value, done } = await this.#lines.next()
      if (done === true)
        throw new GatewayError('UPSTREAM_CONNECTION', { reason: this.#socket.errored?.message ?? 'closed' })
      if (wanted.test(value as string)) return value as string
      if (/^\d{3} /.test(value as string)) throw unexpected(value as string)
    }
    throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'no end of its answer' })
  }

  /** What comes next is TLS. */
  release(): void {
    this.#interface.close()
    this.#socket.removeAllListeners('data').pause()
  }
}
