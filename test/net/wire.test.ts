/** One side of a session while TLS is being put on it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { Wire } from '../../src/net/wire.ts'

async function pair(): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const theirs = connect((server.address() as { port: number }).port, '127.0.0.1')
  const [ours] = (await once(server, 'connection')) as [Socket]
  server.close()
  after(() => {
    theirs.destroy()
    ours.destroy()
  })
  return { ours, theirs }
}

test('what is said during a handshake is dropped: in plaintext it would be a leak', async () => {
  const { ours, theirs } = await pair()
  let heard = ''
  theirs.setEncoding('latin1').on('data', (piece: string) => {
    heard += piece
  })
  const wire = new Wire(ours, { bytes: () => {}, gone: () => {}, writable: () => {} })
  wire.write(Buffer.from('220 go\r\n'))
  const upgraded = wire.upgrade(async (plain) => {
    wire.write(Buffer.from('secret\r\n'))
    plain.end('over')
    throw new Error('no handshake')
  })
  await assert.rejects(upgraded, /no handshake/)
  await once(theirs, 'close')
  assert.match(heard, /^220 go\r\n/)
  assert.doesNotMatch(heard, /secret/)
})

test('nothing is heard during a handshake, nor its failure told as an end', async () => {
  const { ours, theirs } = await pair()
  const events: string[] = []
  const wire = new Wire(ours, {
    bytes: (bytes) => events.push(String(bytes)),
    gone: () => events.push('gone'),
    writable: () => events.push('writable'),
  })
  wire.read(true)
  const seen = once(ours, 'readable')
  const upgraded = wire.upgrade(async (plain): Promise<TLSSocket> => {
    theirs.end('RSET\r\n')
    await seen
    plain.destroy()
    throw new Error('no handshake')
  })
  await assert.rejects(upgraded, /no handshake/)
  assert.deepEqual(events, [])
})
