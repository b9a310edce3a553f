/**
 * A minimal provider: takes every login and every message, and forgets it. A process of its own (`node sink.ts`), which
 * prints its port; ends with its standard input.
 */
import { type AddressInfo, createServer } from 'node:net'

const END = Buffer.from('\r\n.\r\n')

const server = createServer({ noDelay: true }, (socket) => {
  let inData = false
  /** The last octets of DATA seen so far, where an end may be cut in two. */
  let tail = Buffer.alloc(0)
  let line = ''
  socket.on('error', () => {})
  socket.write('220 sink ESMTP\r\n')
  socket.on('data', (bytes: Buffer) => {
    if (inData) {
      const joined = Buffer.concat([tail, bytes.subarray(-END.length)])
      const ended =
        bytes.length >= END.length ? bytes.subarray(-END.length).equals(END) : joined.subarray(-END.length).equals(END)
      tail = joined.subarray(-(END.length - 1))
      if (!ended) return
      inData = false
      socket.write('250 2.0.0 Ok\r\n')
      return
    }
    line += bytes.toString('latin1')
    for (let at = line.indexOf('\r\n'); at >= 0; at = line.indexOf('\r\n')) {
      const verb = line.slice(0, 4)
      line = line.slice(at + 2)
      if (verb === 'EHLO')
        socket.write('250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN\r\n')
      else if (verb === 'AUTH') socket.write('235 2.7.0 Ok\r\n')
      else if (verb === 'QUIT') socket.end('221 2.0.0 Bye\r\n')
      else if (verb === 'DATA') {
        inData = true
        tail = Buffer.from('\r\n')
        socket.write('354 go\r\n')
      } else socket.write('250 2.0.0 Ok\r\n')
    }
  })
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`))
process.stdin.on('end', () => process.exit(0)).resume()
