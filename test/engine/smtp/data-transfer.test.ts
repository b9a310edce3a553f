import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DataTransfer } from '../../../src/engine/smtp/data-transfer.ts'

test('a message broken by the octets that end it sends no final dot', () => {
  const sent: string[] = []
  const events: string[] = []
  const transfer = new DataTransfer({
    transform: null,
    head: Buffer.alloc(0),
    sevenBit: false,
    maxOctets: 10,
    send: (bytes) => {
      if (events.length > 0) sent.push(bytes.toString())
    },
    copy: () => {},
    ask: () => {},
    broken: ({ code }) => events.push(code),
    ended: () => events.push('ended'),
  })
  transfer.push(Buffer.from('12345678'))
  assert.deepEqual(transfer.push(Buffer.from('12345678\r\n.\r\nQUIT\r\n')), Buffer.from('QUIT\r\n'))
  assert.deepEqual(events, ['MESSAGE_TOO_LARGE', 'ended'])
  assert.deepEqual(sent, [])
})
