/** The IMAP session over real sockets against a real Dovecot, with clients that nobody here wrote: curl, mbsync, imapflow. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { ImapFlow } from 'imapflow'
import { LAB_PASSWORDS, labProvider } from '../lab/provider.ts'
import { imapLab } from './imap-lab.ts'
import { RawImap } from './raw-imap.ts'

const run = promisify(execFile)
const provider = await labProvider()
const lab = await imapLab({ host: provider.host, port: provider.ports.imap, passwords: LAB_PASSWORDS })
/** The same keys with little memory: everything is large to it. */
const small = await imapLab({
  host: provider.host,
  port: provider.ports.imap,
  passwords: LAB_PASSWORDS,
  keys: lab.keys,
  settings: { maxbufOctets: 4096 },
})
const scratch = mkdtempSync(join(tmpdir(), 'vm-imap-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

const direct = (name: string): Promise<RawImap> => RawImap.login(provider.ports.imap, name, LAB_PASSWORDS[name]!)
const through = (name: string, port = lab.port): Promise<RawImap> => RawImap.login(port, `${name}@lab.test`, 'veskey')

function mail(subject: string, attachmentOctets: number): Buffer {
  const base64 = randomBytes(attachmentOctets)
    .toString('base64')
    .replace(/(.{76})/g, '$1\r\n')
  return Buffer.from(
    `From: Alice <alice@lab.test>\r\nTo: bob@lab.test\r\nSubject: ${subject}\r\nDate: Mon, 23 Nov 2026 16:00:00 +0000\r\n` +
      `Message-ID: <${subject.replaceAll(' ', '.')}@lab.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n` +
      `--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n` +
      `--b1\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Disposition: attachment; filename=a.bin\r\n` +
      `Content-Transfer-Encoding: base64\r\n\r\n${base64}\r\n--b1--\r\n`,
  )
}

/** Without what differs by nature. */
function comparable(answer: readonly string[]): string {
  return answer
    .join('')
    .replace(/\([\d.]+ \+ [\d. +]+secs\)/g, '')
    .replace(/\(\\Recent\)|INTERNALDATE "[^"]*"/g, '')
}

const QUESTIONS = [
  'RFC822.SIZE',
  'ENVELOPE',
  'BODYSTRUCTURE',
  'BODY',
  'FULL',
  'BODY.PEEK[HEADER]',
  'BODY.PEEK[HEADER.FIELDS (SUBJECT "FROM")]',
  'BODY.PEEK[]',
  'RFC822.HEADER',
  'BODY.PEEK[TEXT]<100.200>',
  'BODY.PEEK[1]',
  'BODY.PEEK[2]',
  'BODY.PEEK[2.MIME]',
  'BODY.PEEK[2]<0.100>',
  'BODY.PEEK[2]<1000.5000>',
  'BODY.PEEK[2]<999999999.10>',
  '(UID RFC822.SIZE FLAGS BODY.PEEK[2]<60.40> ENVELOPE)',
]

describe('IMAP session and Dovecot', () => {
  it('answers for sealed messages what the server answers for plain ones, small and large', async () => {
    const [plain, gateway] = [await direct('alice'), await through('alice')]
    for (const box of ['A', 'B']) await plain.command(`CREATE ${box}`)
    for (const octets of [0, 1000, 100_000, 3_000_000]) {
      const message = mail(`size ${octets}`, octets)
      assert.match(await plain.append('A', message), /^ OK/)
      assert.match(await gateway.append('B', message), /^ OK/)
    }
    const stored = await direct('alice')
    await stored.command('EXAMINE B')
    const ciphertext = (await stored.command('FETCH 1:* BODY.PEEK[]')).join('')
    assert.ok(!ciphertext.includes('size 1000') && !ciphertext.includes('caf=C3'), 'plaintext at the provider')
    await plain.command('EXAMINE A')
    for (const port of [lab.port, small.port]) {
      const client = await through('alice', port)
      await client.command('EXAMINE B')
      for (const question of QUESTIONS) {
        for (const number of [4, 1, 3, 2]) {
          const command = `FETCH ${number} ${question}`
          assert.equal(comparable(await client.command(command)), comparable(await plain.command(command)), command)
        }
      }
      client.close()
    }
    for (const client of [plain, gateway, stored]) client.close()
  })

  it('reads only what a range of a large attachment needs', async () => {
    const before = lab.ends.length
    const client = await through('alice')
    await client.command('EXAMINE B')
    await client.command('FETCH 4 BODYSTRUCTURE')
    for (let at = 0; at < 10; at++) await client.command(`FETCH 4 BODY.PEEK[2]<${at * 65_536}.65536>`)
    await client.command('LOGOUT')
    while (lab.ends.length === before) await new Promise((later) => setImmediate(later))
    const { fromUpstreamOctets, toClientOctets } = lab.ends.at(-1)!
    assert.ok(fromUpstreamOctets < toClientOctets * 1.5, `${fromUpstreamOctets} octets for ${toClientOctets}`)
    client.close()
  })

  it('serves curl: APPEND, SEARCH, FETCH', async () => {
    const file = join(scratch, 'm.eml')
    const message = mail('by curl', 500)
    writeFileSync(file, message)
    const url = `imap://127.0.0.1:${lab.port}`
    const user = ['-s', '-u', 'bob@lab.test:veskey']
    await run('curl', [...user, '-T', file, `${url}/INBOX`])
    const found = await run('curl', [...user, `${url}/INBOX?HEADER%20Message-ID%20%3Cby.curl@lab.test%3E`])
    assert.match(found.stdout, /^\* SEARCH 1\r\n/)
    const { stdout } = await run('curl', [...user, `${url}/INBOX;MAILINDEX=1`], { encoding: 'buffer' })
    assert.equal(stdout.toString('latin1'), message.toString('latin1'))
  })

  it('serves mbsync: what it syncs is what was written', async () => {
    const gateway = await through('carol')
    const plain = await direct('carol')
    const written: string[] = []
    for (let i = 0; i < 12; i++) {
      const message = mail(`sync ${i}`, i * 400)
      written.push(message.toString('latin1').replaceAll('\r\n', '\n'))
      assert.match(await (i % 3 === 0 ? plain : gateway).append('INBOX', message), /^ OK/)
    }
    for (const client of [gateway, plain]) client.close()
    const boxes = join(scratch, 'md')
    mkdirSync(boxes)
    writeFileSync(
      join(scratch, 'rc'),
      `IMAPAccount g\nHost 127.0.0.1\nPort ${lab.port}\nUser carol@lab.test\nPass veskey\nSSLType None\nAuthMechs PLAIN\n\n` +
        `IMAPStore r\nAccount g\n\nMaildirStore l\nPath ${boxes}/\nInbox ${boxes}/INBOX\n\n` +
        'Channel c\nFar :r:\nNear :l:\nPatterns INBOX\nCreate Near\nSync All\nSyncState *\n',
      { mode: 0o600 },
    )
    await run('mbsync', ['-c', join(scratch, 'rc'), '-a'])
    const got = ['new', 'cur'].flatMap((folder) =>
      readdirSync(join(boxes, 'INBOX', folder)).map((name) =>
        readFileSync(join(boxes, 'INBOX', folder, name), 'latin1').replace(/^X-TUID: .*\n/m, ''),
      ),
    )
    assert.deepEqual(got.sort(), written.sort())
  })

  it('serves imapflow: structure, download in chunks, IDLE', async () => {
    const client = new ImapFlow({
      host: '127.0.0.1',
      port: lab.port,
      secure: false,
      auth: { user: 'alice@lab.test', pass: 'veskey' },
      logger: false,
    })
    await client.connect()
    const lock = await client.getMailboxLock('B')
    const message = await client.fetchOne('3', { envelope: true, bodyStructure: true, size: true, uid: true })
    assert.ok(message !== false)
    assert.equal(message.envelope?.subject, 'size 100000')
    const attachment = message.bodyStructure?.childNodes?.[1]
    assert.equal(attachment?.size, Math.ceil(100_000 / 3) * 4 + 2 * Math.floor((Math.ceil(100_000 / 3) * 4) / 76))
    const { content } = await client.download(String(message.uid), '2', { uid: true })
    let octets = 0
    for await (const chunk of content!) octets += (chunk as Buffer).length
    assert.equal(octets, 100_000)
    const idling = client.idle()
    const other = await through('alice')
    const exists = new Promise((resolve) => client.once('exists', resolve))
    await other.append('B', mail('while idle', 10))
    await exists
    lock.release()
    await client.logout()
    await idling
    other.close()
  })
})
