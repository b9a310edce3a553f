/** SEARCH over plain and sealed messages against a real Dovecot: what it finds in the plain twins is what is found (imap.md §3). */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LAB_PASSWORDS, labProvider } from '../lab/provider.ts'
import { imapLab } from './imap-lab.ts'
import { RawImap } from './raw-imap.ts'

const provider = await labProvider()
const at = { host: provider.host, port: provider.ports.imap, passwords: LAB_PASSWORDS }
const opening = await imapLab({ ...at, search: 'open' })
const careful = await imapLab({ ...at, keys: opening.keys })
const poor = await imapLab({ ...at, keys: opening.keys, search: 'open', settings: { sizeBudgetOctets: 100 } })

const MESSAGES = [
  'Subject: weekly report\r\nX-Project: Blue Whale\r\n\r\nThe numbers are fine.\r\n',
  'Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nTGllYmUgR3LDvMOfZSBhdXMgS8O2bG4K\r\n',
  'Subject: pictures\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsee the whale=\r\n watching\r\n--b\r\nContent-Type: application/pdf; name=x.pdf\r\n\r\nreport\r\n--b--\r\n',
  `Subject: long\r\n\r\n${'All work and no play makes mail a dull thing.\r\n'.repeat(300)}`,
  'Subject: re: weekly report\r\nFrom: bob@lab.test\r\n\r\nThanks, Bob. VESmail\r\n',
]

const SEARCHES = [
  'SUBJECT report',
  'SUBJECT "WEEKLY REPORT"',
  'NOT SUBJECT report',
  'BODY whale',
  'BODY "whale watching"',
  'TEXT report',
  'NOT TEXT report',
  'TEXT VESmail',
  'TEXT banner',
  'OR SUBJECT pictures FROM bob',
  'OR (SUBJECT report UNSEEN) (NOT BODY numbers LARGER 5000)',
  'NOT (OR SUBJECT report BODY numbers)',
  'HEADER X-Project blue',
  'HEADER X-Project ""',
  'HEADER Content-Type multipart',
  'LARGER 1000',
  'SMALLER 120',
  'FLAGGED SUBJECT report',
  '2:4 SUBJECT e',
  'UID 1:3 TEXT e',
  'CHARSET UTF-8 SUBJECT {7+}\r\nGrüße',
  'CHARSET UTF-8 BODY {5+}\r\nKöln',
  'RETURN (MIN MAX COUNT ALL) SUBJECT report',
  'RETURN (COUNT) NOT BODY fine',
  'RETURN () SUBJECT nothing',
  'SUBJECT nothing',
  'ALL SUBJECT report UNDELETED',
]

const comparable = (answer: readonly string[]): string =>
  answer
    .join('')
    .replace(/\([\d.]+ \+ [\d. +]+secs\)/g, '')
    .replace(/TAG "[^"]*"/, 'TAG')

describe('SEARCH', () => {
  it('finds in sealed messages what the server finds in their plain twins', async () => {
    const plain = await RawImap.login(provider.ports.imap, 'alice', LAB_PASSWORDS.alice!)
    const through = await RawImap.login(opening.port, 'alice@lab.test', 'veskey')
    for (const box of ['SA', 'SB']) await plain.command(`CREATE ${box}`)
    for (const [i, message] of [...MESSAGES, ...MESSAGES].entries()) {
      assert.match(await plain.append('SA', Buffer.from(message)), /^ OK/)
      assert.match(await (i % 3 === 1 ? plain : through).append('SB', Buffer.from(message)), /^ OK/)
    }
    await plain.command('SELECT SA')
    await through.command('SELECT SB')
    for (const client of [plain, through]) await client.command('STORE 1,6,7 +FLAGS (\\Flagged)')
    for (const search of SEARCHES) {
      for (const form of ['SEARCH', 'UID SEARCH']) {
        const command = `${form} ${search}`
        assert.equal(comparable(await through.command(command)), comparable(await plain.command(command)), command)
      }
    }
    // The found set can be used: it is the server's own.
    for (const client of [plain, through]) await client.command('SEARCH RETURN (SAVE) SUBJECT report')
    const flags = 'FETCH $ (FLAGS)'
    assert.equal(comparable(await through.command(flags)), comparable(await plain.command(flags)))
    for (const client of [plain, through]) client.close()
  })

  it('says so where it has not looked; looks where it has opened before', async () => {
    const client = await RawImap.login(careful.port, 'alice@lab.test', 'veskey')
    await client.command('EXAMINE SB')
    const before = (await client.command('SEARCH SUBJECT report')).join('')
    assert.match(before, /^\* SEARCH 2 5 8\r\n|^\* SEARCH [\d ]*\r\n/)
    assert.match(before, /incomplete: not all encrypted messages were looked into/)
    await client.command('FETCH 1:* (BODY.PEEK[])')
    const after = (await client.command('SEARCH SUBJECT report')).join('')
    assert.match(after, /^\* SEARCH 1 5 6 10\r\n/)
    assert.doesNotMatch(after, /incomplete/)
    client.close()
  })

  it('opens no more than its budget', async () => {
    const client = await RawImap.login(poor.port, 'alice@lab.test', 'veskey')
    await client.command('EXAMINE SB')
    const answer = (await client.command('SEARCH BODY whale')).join('')
    assert.match(answer, /incomplete/)
    client.close()
  })
})
