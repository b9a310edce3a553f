/**
 * What goes wrong, with everything real: each failure has its code and words (daemon.md §6), costs only its session, and
 * never lets plaintext through.
 */
import assert from 'node:assert/strict'
import { chownSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { readMail, sendMail, storedMail, withoutTrace, writeMail } from '../../src/cli/demo/mail.ts'
import { freePort, labGateway } from '../lab/gateway.ts'
import { LAB_USERS, labProvider } from '../lab/provider.ts'

/** Stands before the repository, and can be cut. */
class Cable {
  readonly #server = createServer((socket) => this.#join(socket))
  readonly #sockets = new Set<Socket>()
  readonly #target: () => number
  plugged = true

  constructor(target: () => number) {
    this.#target = target
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
  }

  cut(): void {
    this.plugged = false
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.cut()
    this.#server.close()
  }

  #join(socket: Socket): void {
    if (!this.plugged) {
      socket.destroy()
      return
    }
    const other = connect(this.#target(), '127.0.0.1')
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      this.#sockets.add(from)
      from.on('error', () => {}).on('close', () => to.destroy())
      from.pipe(to)
    }
  }
}

const cablePort = await freePort()
const provider = await labProvider()
let repositoryPort = 0
const cable = new Cable(() => repositoryPort)
await cable.listen(cablePort)
after(() => cable.close())
const gateway = await labGateway(provider, {
  users: ['alice', 'bob'],
  configuration: { '*': { ves: { api: `http://127.0.0.1:${cablePort}/v1/` } } },
  ready: (ports) => {
    repositoryPort = ports.repository
  },
})

const ALICE = 'alice@lab.test'
const BOB = 'bob@lab.test'
const login = (name: string) => ({ user: `${name}@lab.test`, pass: gateway.passwords[name]! })
const endpoint = (name: 'imaps' | 'submissions') => {
  return { host: '127.0.0.1', port: gateway.ports[name], secure: true, ca: gateway.ca }
}
const mails = (name: string) =>
  ['new', 'cur'].flatMap((folder) => {
    const path = join(provider.maildir(name), folder)
    return (existsSync(path) ? readdirSync(path) : []).map((file) => join(path, file))
  })

const talks = new Set<Socket>()
after(() => {
  for (const socket of talks) socket.destroy()
})

/** A conversation by hand: `say` sends a line and gives the whole answer. */
async function talk(port: number, isLast: RegExp) {
  const socket = connectTls({ port, host: '127.0.0.1', ca: gateway.ca })
  talks.add(socket)
  let text = ''
  let wake = (): void => {}
  socket.on('data', (data) => {
    text += data.toString('latin1')
    wake()
  })
  let closed = false
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
    wake()
  })
  const answer = async (): Promise<string> => {
    while (!isLast.test(text) && !closed) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    const found = text
    text = ''
    return found
  }
  const say = (line: string): Promise<string> => {
    socket.write(`${line}\r\n`)
    return answer()
  }
  return { socket, answer, say, isClosed: () => closed }
}

const smtp = () => talk(gateway.ports.submissions, /^\d{3} .*\r\n$/m)
const imap = () => talk(gateway.ports.imaps, /^(?:a\d+ .*|\* OK .*ready\.)\r\n$/m)
const plain = (name: string) => Buffer.from(`\0${name}@lab.test\0${gateway.passwords[name]}`).toString('base64')

async function send(): Promise<Buffer> {
  const before = mails('bob').length
  const written = await writeMail(ALICE, BOB)
  await sendMail(endpoint('submissions'), login('alice'), { from: ALICE, to: BOB }, written)
  for (let tries = 0; mails('bob').length === before; tries++) {
    assert.ok(tries < 200, 'not delivered')
    await new Promise((later) => setTimeout(later, 50))
  }
  return written
}

await send()

test('the repository is lost in the middle of DATA: nothing is sent, in plaintext or at all', async () => {
  const before = mails('bob').length
  const session = await smtp()
  await session.answer()
  await session.say('EHLO client.test')
  assert.match(await session.say(`AUTH PLAIN ${plain('alice')}`), /^235 /m)
  assert.match(await session.say(`MAIL FROM:<${ALICE}>`), /^250 /m)
  assert.match(await session.say(`RCPT TO:<${BOB}>`), /^250 /m)
  assert.match(await session.say('DATA'), /^354 /m)
  session.socket.write('Subject: half a secret\r\nMessage-ID: <lost@lab.test>\r\n')
  cable.cut()
  const reply = await session.say(`\r\n${'the other half\r\n'.repeat(1000)}.`)
  assert.match(reply, /^451 4\.\d\.\d XVES-3\.\d+ /m)
  await session.answer()
  assert.ok(session.isClosed())
  // The proof that a mail is not under way is one that was sent after it.
  cable.plugged = true
  await send()
  assert.equal(mails('bob').length, before + 1)
  for (const file of mails('bob')) assert.doesNotMatch(readFileSync(file, 'latin1'), /half/)
})

test('without the repository nobody logs in, in words that say that it is temporary', async () => {
  cable.cut()
  const session = await smtp()
  await session.answer()
  await session.say('EHLO client.test')
  assert.match(await session.say(`AUTH PLAIN ${plain('alice')}`), /^454 4\.7\.0 XVES-3\.\d+ libVES: /m)
  session.socket.destroy()
  const mailbox = await imap()
  await mailbox.answer()
  assert.match(await mailbox.say(`a1 LOGIN ${BOB} ${gateway.passwords.bob}`), /^a1 NO \[UNAVAILABLE\] XVES-3\.\d+ /m)
  mailbox.socket.destroy()
  cable.plugged = true
})

test('a message altered or cut short at the provider is refused, its neighbours are not', async () => {
  const written = await send()
  const sealed = readFileSync(mails('bob').sort((a, b) => readFileSync(b).length - readFileSync(a).length)[0]!)
  // In the middle of the last sealed body.
  const at = sealed.length - 200 - sealed.subarray(-200).lastIndexOf('\n\n')
  const altered = Buffer.from(sealed)
  altered[at] = altered[at] === 0x41 ? 0x42 : 0x41
  for (const [name, broken] of [
    ['altered', altered],
    ['cut', sealed.subarray(0, at)],
  ] as const) {
    const file = join(provider.maildir('bob'), 'new', `1.${name}.lab`)
    writeFileSync(file, broken)
    chownSync(file, statSync(provider.maildir('bob')).uid, statSync(provider.maildir('bob')).gid)
    const session = await imap()
    await session.answer()
    await session.say(`a1 LOGIN ${BOB} ${gateway.passwords.bob}`)
    await session.say('a2 SELECT INBOX')
    const all = await session.say('a3 UID FETCH 1:* (UID BODY.PEEK[])')
    assert.match(all, /^a3 NO .*XVES-3\.4 libVES: Crypto/m)
    assert.doesNotMatch(all, /X-VESmail-Header/, 'never half decrypted')
    assert.match(all, /kingfisher/, 'the others are given')
    assert.match(await session.say('a4 NOOP'), /^a4 OK /m, 'the session goes on')
    session.socket.destroy()
    for (const left of mails('bob').filter((path) => path.includes(`1.${name}.lab`))) rmSync(left)
  }
  const read = await readMail(endpoint('imaps'), login('bob'))
  assert.ok(read !== null && withoutTrace(read).equals(written))
})

test('provider down, provider without STARTTLS, wrong password there, no profile: each says what to look at', async () => {
  const deadPort = await freePort()
  const bare = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write('250 bare.test\r\n'))
    socket.write('220 bare.test ESMTP\r\n')
  })
  await new Promise<void>((resolve) => bare.listen(0, '127.0.0.1', resolve))
  const barePort = (bare.address() as { port: number }).port
  const { password } = LAB_USERS[0]!
  const server = (port: number, more = {}) => ({ host: '127.0.0.1', port, login: 'alice', password, ...more })
  const set = (smtpServer: unknown) =>
    gateway.setProfile(ALICE, gateway.passwords.alice!, { imap: server(provider.ports.imap), smtp: smtpServer })
  for (const [profile, expected] of [
    [server(deadPort), /^454 4\.7\.0 XVES-17 Connection error, check host & port in the VESmail profile/m],
    [server(barePort), /^454 4\.7\.0 XVES-18 TLS error/m],
    [server(provider.ports.submission, { password: 'wrong' }), /^535[- ](?:.*\r\n535 )?.*XVES-31/m],
    [undefined, /^535 5\.7\.8 XVES-7 Invalid or missing VESmail profile object/m],
  ] as const) {
    await set(profile)
    const session = await smtp()
    await session.answer()
    await session.say('EHLO client.test')
    assert.match(await session.say(`AUTH PLAIN ${plain('alice')}`), expected)
    session.socket.destroy()
  }
  bare.close()
  // Nobody else has noticed.
  assert.ok((await readMail(endpoint('imaps'), login('bob'))) !== null)
  assert.ok(storedMail(provider.maildir('bob')) !== null)
})
