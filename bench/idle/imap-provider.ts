/**
 * The smallest IMAP provider that a client can log in to and idle at, over TLS from the first octet. A process of its
 * own, so that its memory is not counted. `argv`: certificate, key; prints its port.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:tls'

const [cert = '', key = ''] = process.argv.slice(2)
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (socket) => {
  let rest = ''
  let idle = ''
  socket.setEncoding('latin1').on('error', () => {})
  socket.write('* OK [CAPABILITY IMAP4rev1 IDLE LITERAL+ SASL-IR] ready\r\n')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\r\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const [tag = '', command = ''] = line.split(' ')
      if (line === 'DONE') socket.write(`${idle} OK done\r\n`)
      else if (/^idle$/i.test(command)) {
        idle = tag
        socket.write('+ idling\r\n')
      } else if (/^capability$/i.test(command)) {
        socket.write(`* CAPABILITY IMAP4rev1 IDLE LITERAL+ SASL-IR\r\n${tag} OK done\r\n`)
      } else if (/^select$/i.test(command)) {
        socket.write(`* 0 EXISTS\r\n* FLAGS ()\r\n* OK [UIDVALIDITY 1] ok\r\n${tag} OK [READ-WRITE] done\r\n`)
      } else socket.write(`${tag} OK done\r\n`)
    }
  })
})
server.listen(0, '127.0.0.1', 8192, () => process.stdout.write(`${(server.address() as { port: number }).port}\n`))
