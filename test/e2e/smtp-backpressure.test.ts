/**
 * 200 MB through one session, from a fast client to a slow provider and the reverse: what the session holds stays
 * under 8 MiB, and others go on meanwhile. Both ends are in this process, and hold nothing themselves.
 */
import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import test, { after } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { RawClient, type SmtpLab, smtpLab } from './smtp-lab.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

const TOTAL_OCTETS = 200 * 1024 * 1024
const MAX_HELD_OCTETS = 8 * 1024 * 1024
const LINES = Buffer.from(`${'0123456789abcdef'.repeat(4)}\r\n`.repeat(1000))

/** Says yes to everything, counts what comes in DATA, stops reading when told. */
async function sink(onData: (socket: Socket, octets: number) => void): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    let data = false
    let tail = ''
    socket.on('error', () => {})
    socket.write('220 sink\r\n')
    socket.on('data', (bytes: Buffer) => {
      if (data) {
        tail = (tail + bytes.subarray(-5).toString('latin1')).slice(-5)
        onData(socket, bytes.length)
        if (tail !== '\r\n.\r\n') return
        data = false
        socket.write('250 2.0.0 Ok\r\n')
        return
      }
      const line = bytes.toString('latin1')
      data = line.endsWith('DATA\r\n')
      if (line.startsWith('EHLO')) socket.write('250-sink\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n')
      else if (line.startsWith('AUTH')) socket.write('235 2.7.0 ok\r\n')
      else socket.write(data ? '354 go\r\n' : '250 2.0.0 Ok\r\n')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => server.close())
  return (server.address() as AddressInfo).port
}

const labFor = (port: number): Promise<SmtpLab> =>
  smtpLab({ provider: { port, tls: { level: 'none', persist: false } } })

function heldOctets(): number {
  gc()
  gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Turns of the event loop until the number stays the same for a while. */
async function settled(read: () => number): Promise<void> {
  let last = read()
  for (let same = 0; same < 200; same++) {
    await new Promise((later) => setTimeout(later, 1))
    if (read() !== last) same = 0
    last = read()
  }
}

async function deliver(lab: SmtpLab): Promise<void> {
  const other = await new RawClient(lab.port).login()
  await other.envelope('alice@lab.test', 'bob@lab.test')
  assert.match(await other.say('Subject: other\r\n\r\nx\r\n.\r\n'), /^250/)
  other.close()
}

test('a fast client and a provider that stops: the client is stopped, nothing piles up, others go on', async () => {
  let received = 0
  let slow: Socket | null = null
  let limit = 0
  const port = await sink((socket, octets) => {
    if (octets > 2000) slow ??= socket
    if (socket !== slow) return
    received += octets
    if (received >= limit) socket.pause()
  })
  const lab = await labFor(port)
  const client = await new RawClient(lab.port).login()
  await client.envelope('alice@lab.test', 'bob@lab.test')
  const before = heldOctets()
  client.socket.write('Subject: big\r\n\r\n')
  let sent = 0
  let done = false
  const reply = (async () => {
    while (sent < TOTAL_OCTETS) {
      sent += LINES.length
      if (!client.socket.write(LINES)) await new Promise((resolve) => client.socket.once('drain', resolve))
    }
    const last = await client.say('.\r\n')
    done = true
    return last
  })()
  let worst = 0
  for (let round = 1; round <= 4; round++) {
    await settled(() => sent + received)
    assert(!done, 'stopped by the provider')
    worst = Math.max(worst, heldOctets() - before)
    await deliver(lab)
    limit += (TOTAL_OCTETS * 1.2) / 5
    ;(slow as Socket | null)?.resume()
  }
  limit = Number.POSITIVE_INFINITY
  await settled(() => sent + received)
  worst = Math.max(worst, heldOctets() - before)
  ;(slow as Socket | null)?.resume()
  assert.match(await reply, /^250/)
  client.close()
  assert(worst < MAX_HELD_OCTETS, `${(worst / 1048576).toFixed(1)} MiB held`)
  assert(received > TOTAL_OCTETS)
})

test('a client that writes slowly to a fast provider: nothing is kept back or piled up', async () => {
  let received = 0
  const port = await sink((_, octets) => {
    received += octets
  })
  const lab = await labFor(port)
  const client = await new RawClient(lab.port).login()
  await client.envelope('alice@lab.test', 'bob@lab.test')
  const before = heldOctets()
  client.socket.write('Subject: slow\r\n\r\n')
  let worst = 0
  for (let round = 0; round < 200; round++) {
    for (let n = 0; n < 16; n++) {
      if (!client.socket.write(LINES)) await new Promise((resolve) => client.socket.once('drain', resolve))
      await turn()
    }
    if (round % 40 === 39) {
      await settled(() => received)
      worst = Math.max(worst, heldOctets() - before)
    }
  }
  // What a session may hold back is what it has not yet sealed a batch of.
  assert(received * 0.7 > 200 * 16 * LINES.length * 0.95 - MAX_HELD_OCTETS)
  assert.match(await client.say('.\r\n'), /^250/)
  client.close()
  assert(worst < MAX_HELD_OCTETS, `${(worst / 1048576).toFixed(1)} MiB held`)
})
