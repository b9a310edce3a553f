/**
 * What the HTTP bench compares with: a bare uWebSockets.js that answers a GET and a POST with the same octets, and, for
 * tunnels, a source of octets in plain TCP and in TLS. `argv`: manifest file, message file, certificate, key; prints its ports.
 */

import { default as uws } from 'uWebSockets.js'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

const [manifest, message, cert, key] = process.argv.slice(2).map((file) => readFileSync(file))
const app = uws.App()
app.get('/ves.json', (response) => {
  response.writeHeader('content-type', 'application/json').end(manifest)
})
app.post('/', (response) => {
  response.onAborted(() => {})
  response.onData((_, isLast) => {
    if (isLast) response.cork(() => response.writeHeader('content-type', 'message/rfc822').end(message))
  })
})
const http = await new Promise<number>((resolve) =>
  app.listen('127.0.0.1', 0, (socket) => resolve(uws.us_socket_local_port(socket as never))),
)

/** A line with a number in, so many octets out. */
function pour(socket: Socket): void {
  const piece = Buffer.alloc(64 * 1024, 'x')
  socket.on('error', () => {})
  socket.once('data', (line) => {
    let left = Number(line.toString())
    const more = (): void => {
      while (left > 0) {
        const octets = left >= piece.length ? piece : piece.subarray(0, left)
        left -= octets.length
        if (!socket.write(octets)) return void socket.once('drain', more)
      }
    }
    more()
  })
}

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port
const plain = createServer(pour).listen(0, '127.0.0.1')
const tls = createTlsServer({ cert: cert!, key: key! }, pour).listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ http, plain: portOf(plain), tls: portOf(tls) })}\n`)
})
