/** Load for the HTTP bench: keep-alive connections that ask again as soon as they are answered; and octets through one. */
import { once } from 'node:events'
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext } from 'node:tls'

export interface Target {
  readonly port: number
  /** Trusted certificate; null: no TLS. */
  readonly ca: string | null
}

export async function connection({ port, ca }: Target): Promise<Socket> {
  const at = { host: '127.0.0.1', port }
  const socket =
    ca === null
      ? connectPlain(at)
      : connectTls({ ...at, servername: 'localhost', secureContext: createSecureContext({ ca }) })
  await once(socket, ca === null ? 'connect' : 'secureConnect')
  return socket.setNoDelay(true)
}

/** @returns requests per second. @throws Error for an answer that is not 200 */
export async function requestsPerSecond(
  target: Target,
  request: Buffer,
  { connections, requests }: { readonly connections: number; readonly requests: number },
): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: connections }, () => connection(target)))
  let left = requests
  const begin = performance.now()
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let rest = 0
          let head: Buffer = Buffer.alloc(0)
          const ask = (): void => {
            if (left-- > 0) socket.write(request)
            else resolve()
          }
          socket.on('error', reject).on('close', () => reject(new Error('closed')))
          socket.on('data', (octets: Buffer) => {
            if (rest > 0) {
              rest -= octets.length
              if (rest === 0) ask()
              return
            }
            head = head.length === 0 ? octets : Buffer.concat([head, octets])
            const end = head.indexOf('\r\n\r\n')
            if (end === -1) return
            const text = head.toString('latin1', 0, end)
            const length = /\ncontent-length: (\d+)/i.exec(text)
            if (!text.startsWith('HTTP/1.1 200') || length === null) return reject(new Error(text.split('\n', 1)[0]))
            rest = Number(length[1]) - (head.length - end - 4)
            head = Buffer.alloc(0)
            if (rest === 0) ask()
          })
          ask()
        }),
    ),
  )
  const seconds = (performance.now() - begin) / 1000
  for (const socket of sockets)
    socket
      .removeAllListeners()
      .on('error', () => {})
      .destroy()
  return requests / seconds
}

/** Asks a source for so many octets. @param upgrade null: directly; else a WebSocket's request, and the octets come in frames */
export async function octetsThrough(target: Target, octets: number, upgrade: string | null): Promise<number> {
  const socket = await connection(target)
  socket.on('error', () => {})
  if (upgrade !== null) {
    socket.write(upgrade)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    if (!answer.toString('latin1').startsWith('HTTP/1.1 101'))
      throw new Error(answer.toString('latin1').split('\r', 1)[0])
  }
  const ask = Buffer.from(`${octets}\n`)
  const begin = performance.now()
  socket.write(upgrade === null ? ask : Buffer.concat([Buffer.from([0x82, 0x80 | ask.length, 0, 0, 0, 0]), ask]))
  let seen = 0
  // The frames' heads are octets more: at least as much has come then.
  for await (const chunk of socket) {
    seen += (chunk as Buffer).length
    if (seen >= octets) break
  }
  const seconds = (performance.now() - begin) / 1000
  socket.destroy()
  return octets / 1e6 / seconds
}
