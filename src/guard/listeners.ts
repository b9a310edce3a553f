/**
 * The listening sockets, and nothing else: accepted connections come out paused and unread.
 *
 * They stay open for as long as the program lives, over all restarts of workers. Sockets that systemd opened for us
 * (socket activation, sd_listen_fds(3)) are taken over where their port is one of ours.
 */
import { createServer, type Server, type Socket } from 'node:net'
import type { ConfigFile } from '../base/config/config-file.ts'
import { programConfig } from '../base/config/merge.ts'
import { layersOf, whereDaemon, whereSet } from '../base/config/places.ts'
import { GatewayError } from '../base/errors.ts'
import { listenerKey } from '../base/hand-over.ts'
import type { Log } from '../base/log.ts'

export interface ListenAddress {
  /** null: all addresses, IPv4 and IPv6. */
  readonly host: string | null
  readonly port: number
  /** In the configuration. */
  readonly where: string
}

export function listenAddresses(file: ConfigFile): ListenAddress[] {
  const daemons = file.daemons.map((entry) => ({ host: entry.host, port: entry.port, where: whereDaemon(file, entry) }))
  return [...daemons, ...adminAddresses(file)]
}

export function adminAddresses(file: ConfigFile): ListenAddress[] {
  const at = programConfig(file)['admin.listen']
  return at === null ? [] : [{ ...at, where: whereSet('admin.listen', layersOf(file, null)) }]
}

/** The kernel takes the smaller of this and net.core.somaxconn. */
const BACKLOG = 4096
/** sd_listen_fds(3). */
const FIRST_SYSTEMD_FD = 3

export class Listeners {
  readonly #servers = new Map<string, Server>()
  readonly #accept: (listener: string, socket: Socket) => void
  readonly #log: Log
  #isInherited = false

  constructor(accept: (listener: string, socket: Socket) => void, log: Log) {
    this.#accept = accept
    this.#log = log
  }

  /** Somebody else has them, too: connections are taken, and wait, also when ours are closed. */
  get isInherited(): boolean {
    return this.#isInherited
  }

  /** Takes over the sockets that systemd passed. @param env read once, at the start */
  async inherit(addresses: readonly ListenAddress[], env: NodeJS.ProcessEnv, pid: number): Promise<void> {
    if (Number(env.LISTEN_PID) !== pid) return
    const end = FIRST_SYSTEMD_FD + Number(env.LISTEN_FDS ?? 0)
    for (let fd = FIRST_SYSTEMD_FD; fd < end; fd++) {
      let key = ''
      const server = this.#server(() => key)
      await bind(server, { fd }, `descriptor ${fd}`, false)
      const bound = server.address()
      const port = typeof bound === 'object' && bound !== null ? bound.port : null
      const match = addresses.find((one) => one.port === port && !this.#servers.has(listenerKey(one.host, one.port)))
      if (match === undefined) {
        this.#log.write('warn', 'listener', { result: 'unused', fd, port })
        server.close()
        continue
      }
      key = listenerKey(match.host, match.port)
      this.#servers.set(key, server)
      this.#isInherited = true
    }
  }

  /** Opens what is missing. @throws {GatewayError} IO when an address cannot be had; what this call opened is closed */
  async open(addresses: readonly ListenAddress[]): Promise<void> {
    const opened: string[] = []
    try {
      for (const { host, port, where } of addresses) {
        const key = listenerKey(host, port)
        if (this.#servers.has(key)) continue
        const server = this.#server(() => key)
        const name = `${where}: ${host ?? 'all addresses'}, port ${port}`
        await bind(server, host === null ? { port } : { host, port }, name, this.#hasPort(port))
        this.#servers.set(key, server)
        opened.push(key)
      }
    } catch (error) {
      for (const key of opened) this.#close(key)
      throw error
    }
  }

  #hasPort(port: number): boolean {
    return [...this.#servers.keys()].some((key) => key.endsWith(`|${port}`))
  }

  /** Closes all but these. */
  keep(addresses: readonly ListenAddress[]): void {
    const keep = new Set(addresses.map((one) => listenerKey(one.host, one.port)))
    for (const key of [...this.#servers.keys()]) if (!keep.has(key)) this.#close(key)
  }

  #close(key: string): void {
    this.#servers.get(key)?.close()
    this.#servers.delete(key)
  }

  #server(key: () => string): Server {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
    server.on('connection', (socket) => {
      // A reset before anybody reads is the client's business.
      socket.on('error', () => {})
      this.#accept(key(), socket)
    })
    return server
  }
}

function bind(
  server: Server,
  at: { readonly fd: number } | { readonly host?: string; readonly port: number },
  where: string,
  isOurs: boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      reject(new GatewayError('IO', { reason: `${where}: cannot listen: ${adviceOn(error, isOurs)}` }, error))
    }
    server.once('error', failed)
    server.listen({ ...at, backlog: BACKLOG }, () => {
      server.off('error', failed)
      // Out of descriptors, mostly: the connection waits in the kernel.
      server.on('error', () => {})
      resolve()
    })
  })
}

/** @param isOurs another of our own listeners has that port */
function adviceOn({ code, message }: NodeJS.ErrnoException, isOurs: boolean): string {
  switch (code) {
    case 'EADDRINUSE':
      if (isOurs) return 'EADDRINUSE: another listener of this gateway has the port: such a change needs a restart'
      return 'EADDRINUSE: somebody has the port; "vesmail check" as root tells who'
    case 'EACCES':
      return 'EACCES: ports below 1024 need the capability CAP_NET_BIND_SERVICE (vesmail.service has it)'
    case 'EADDRNOTAVAIL':
      return 'EADDRNOTAVAIL: this machine has no such address: correct host, or bring the address up'
    default:
      return code ?? message
  }
}
