/**
 * Lines slower than uWebSockets.js has patience for, in real time (its clock cannot be moved): an upload of 4 KiB/s, and a
 * reader who takes 3 KiB/s out of small buffers. Each takes more than twice of its 10 s.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { listen } from '../../src/net/http.ts'

test('an upload and an answer at a few KiB/s come whole', async () => {
  const length = 100_000
  const server = await listen({
    host: '127.0.0.1',
    port: 0,
    maxBodyOctets: 1000,
    isPatient: true,
    streams: ({ method }) => method === 'PUT',
    handle: async ({ stream }) => {
      if (stream !== null) {
        let octets = 0
        for await (const chunk of stream) octets += chunk.length
        return { status: 201, body: String(octets) }
      }
      const body = async function* () {
        // More than the kernel's buffers of both sides hold.
        for (let n = 0; n < 400; n++) yield Buffer.alloc(64 * 1024, 'y')
        yield Buffer.from('the end')
      }
      return { status: 200, body: body() }
    },
  })
  const upload = async (): Promise<void> => {
    const socket = connect(server.port, '127.0.0.1')
    socket.write(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`)
    for (let sent = 0; sent < length; sent += 4000) {
      await delay(1000)
      socket.write(Buffer.alloc(Math.min(4000, length - sent), 'x'))
    }
    let answer = ''
    for await (const piece of socket) {
      answer += piece
      if (answer.endsWith('\r\n\r\n100000')) break
    }
    assert.match(answer, /^HTTP\/1.1 201 /)
  }
  const download = async (): Promise<void> => {
    const socket = connect(server.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    let last = ''
    // Nothing is taken for a long time, again and again; then all.
    for (let n = 0; n < 2; n++) {
      await once(socket, 'readable')
      socket.read(3000)
      await delay(13_000)
    }
    for await (const chunk of socket) {
      last = (last + chunk.toString('latin1')).slice(-20)
      if (last.endsWith('0\r\n\r\n')) break
    }
    assert.match(last, /the end\r\n0\r\n\r\n$/)
    socket.destroy()
  }
  await Promise.all([upload(), download()])
  await server.close()
})
