/**
 * APPEND of what memory is not for, with the real file and a real Dovecot: on both sides of the file's bound, and where
 * there is no file to be had. Whichever way it goes, what is read is what was written, and the server holds no plaintext.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { LAB_PASSWORDS, labProvider } from '../lab/provider.ts'
import { imapLab } from './imap-lab.ts'
import { RawImap } from './raw-imap.ts'

const MAXBUF = 16 * 1024
/**
 * What a message may have, before it is sealed, to have room in the file: it is taken to grow by 1.4. Several batches of
 * a sealer: what is sealed at a stroke has its size without any file.
 */
const ROOM = 4_000_000
const provider = await labProvider()
const lab = await imapLab({
  host: provider.host,
  port: provider.ports.imap,
  passwords: LAB_PASSWORDS,
  settings: { maxbufOctets: MAXBUF, sizes: 'exact' },
  spillOctets: ROOM * 1.4,
})

function message(octets: number): Buffer {
  const head = 'From: a@lab.test\r\nSubject: spilled\r\n\r\n'
  const line = 'plain words in seven bits, again and again\r\n'
  return Buffer.from(
    `${head}${line.repeat((octets - head.length) / line.length - 1)}`.padEnd(octets - 2, '.').concat('\r\n'),
  )
}

describe('an APPEND beyond maxbuf', () => {
  let mailboxes = 0

  /** @returns whether the server has blank lines behind it: its size was told before it was sealed */
  async function wayOf(octets: number, prepare: () => () => void = () => () => {}): Promise<'file' | 'padded'> {
    const mailbox = `spill${++mailboxes}`
    const gateway = await RawImap.login(lab.port, 'alice@lab.test', 'veskey')
    const direct = await RawImap.login(provider.ports.imap, 'alice', LAB_PASSWORDS.alice!)
    await direct.command(`CREATE ${mailbox}`)
    const sent = message(octets)
    assert.equal(sent.length, octets)
    const undo = prepare()
    try {
      assert.match(await gateway.append(mailbox, sent), /^ OK/)
    } finally {
      undo()
    }
    for (const client of [gateway, direct]) await client.command(`EXAMINE ${mailbox}`)
    const [stored = ''] = await direct.command('FETCH 1 BODY.PEEK[]')
    assert.ok(stored.includes('X-VESmail-ID:') && !stored.includes('plain words'), 'sealed')
    const [size] = await gateway.command('FETCH 1 RFC822.SIZE')
    assert.equal(size, `* 1 FETCH (RFC822.SIZE ${octets})\r\n`)
    const [read] = await gateway.command('FETCH 1 BODY.PEEK[]')
    assert.equal(read, `* 1 FETCH (BODY[] {${octets}}\r\n${sent.toString('latin1')})\r\n`)
    for (const client of [gateway, direct]) client.close()
    return /(?:\r\n){20}\)\r\n$/.test(stored) ? 'padded' : 'file'
  }

  it('goes through the file as long as that has room', async () => {
    assert.equal(await wayOf(MAXBUF + 1), 'file')
    assert.equal(await wayOf(ROOM), 'file')
  })

  it('goes to the server padded beyond it', async () => {
    assert.equal(await wayOf(ROOM + 1), 'padded')
    assert.equal(await wayOf(2 * ROOM), 'padded')
  })

  it('goes to the server padded where no file can be made, and through the file once it can', async () => {
    const without = (): (() => void) => {
      const { TMPDIR } = process.env
      process.env.TMPDIR = join('/', 'nowhere', 'at', 'all')
      return () => {
        if (TMPDIR === undefined) delete process.env.TMPDIR
        else process.env.TMPDIR = TMPDIR
      }
    }
    assert.equal(await wayOf(ROOM / 2, without), 'padded')
    assert.equal(await wayOf(ROOM / 2), 'file')
  })

  it('gives the room back: one after the other, each as large as the file', async () => {
    const gateway = await RawImap.login(lab.port, 'bob@lab.test', 'veskey')
    const direct = await RawImap.login(provider.ports.imap, 'bob', LAB_PASSWORDS.bob!)
    for (let n = 1; n <= 3; n++) assert.match(await gateway.append('INBOX', message(ROOM)), /^ OK/)
    await direct.command('EXAMINE INBOX')
    const stored = await direct.command('FETCH 1:3 BODY.PEEK[]')
    assert.equal(stored.length, 4)
    for (const each of stored.slice(0, 3)) assert.doesNotMatch(each, /(?:\r\n){20}\)\r\n$/)
    for (const client of [gateway, direct]) client.close()
  })
})
