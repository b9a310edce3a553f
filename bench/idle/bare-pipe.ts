/**
 * The floor under a session: TLS on both sides and nothing between them, one secure context for all connections
 * upwards. `argv`: certificate, key, the provider's port; prints its port.
 */
import { readFileSync } from 'node:fs'
import { connect, createSecureContext, createServer } from 'node:tls'

const [cert = '', key = '', port = ''] = process.argv.slice(2)
const secureContext = createSecureContext({ ca: readFileSync(cert) })
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (client) => {
  const upstream = connect({ host: '127.0.0.1', port: Number(port), servername: 'localhost', secureContext })
  client.on('error', () => upstream.destroy())
  upstream.on('error', () => client.destroy())
  client.pipe(upstream).pipe(client)
})
server.listen(0, '127.0.0.1', 8192, () => process.stdout.write(`${(server.address() as { port: number }).port}\n`))
