/**
 * The SMTP proxy within the real daemon: modes over the real key repository, and what happens to a message whose worker
 * is killed.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { Secret } from '../../src/base/secret.ts'
import { vesUri } from '../../src/engine/account-name.ts'
import { VesClient } from '../../src/ves/client/ves-client.ts'
import { COLLECTOR_FLAGS } from '../../src/workers/collector.ts'
import { labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'
import { RawClient } from './smtp-lab.ts'

const provider = await labProvider()
const gateway = await labGateway(provider, { mode: 'FALLBACK' })
const ves = new VesClient({ api: gateway.api })
after(() => ves.close())

async function client(): Promise<RawClient> {
  const socket = connectTls({ host: 'localhost', port: gateway.ports.submissions, ca: gateway.ca })
  after(() => socket.destroy())
  return new RawClient(socket).login('alice@lab.test', gateway.passwords.alice!)
}

function mails(name: string): string[] {
  return ['new', 'cur'].flatMap((folder) => {
    const directory = join(provider.maildir(name), folder)
    try {
      return readdirSync(directory).map((file) => readFileSync(join(directory, file), 'latin1'))
    } catch {
      // Not there before the first mail.
      return []
    }
  })
}

async function arrived(name: string, word: string): Promise<string> {
  for (let tries = 0; tries < 200; tries++) {
    const mail = mails(name).find((one) => one.includes(word))
    if (mail !== undefined) return mail
    await new Promise((later) => setTimeout(later, 50))
  }
  return assert.fail(`${word} never came to ${name}`)
}

/** @returns the final reply. The word stands in a header that stays in plain, and in the body */
async function submit(from: RawClient, word: string, ...to: string[]): Promise<string> {
  await from.envelope('alice@lab.test', ...to.map((name) => `${name}@lab.test`))
  return from.say(`In-Reply-To: <${word}@lab.test>\r\nSubject: a\r\n\r\nbody of ${word}\r\n.\r\n`)
}

test('FALLBACK: sealed for those with vaults, plain as a whole with one who has none, sealed again after', async () => {
  const one = await client()
  assert.match(await submit(one, 'fallback1', 'bob'), /ves:\/\/vesmail\//)
  assert.match(await submit(one, 'fallback2', 'bob', 'carol'), /NOT encrypted/)
  assert.match(await submit(one, 'fallback3', 'bob'), /ves:\/\/vesmail\//)
  assert.doesNotMatch(await arrived('bob', 'fallback1'), /body of/)
  assert.match(await arrived('bob', 'fallback2'), /body of fallback2/)
  assert.match(await arrived('carol', 'fallback2'), /body of fallback2/)
  assert.doesNotMatch(await arrived('bob', 'fallback3'), /body of/)
  one.close()
})

test('FALLBACK: the item <address>!plain makes its owner get plaintext', async () => {
  const session = await ves.unlock('ves://vesmail/bob@lab.test/', new Secret(Buffer.from(gateway.passwords.bob!)))
  const value = new Secret(Buffer.from('1'))
  await session.putItem(vesUri('vesmail', 'bob@lab.test!plain'), { type: 'string', meta: null, value })
  const one = await client()
  assert.match(await submit(one, 'wantsplain', 'bob'), /NOT encrypted/)
  assert.match(await arrived('bob', 'wantsplain'), /body of wantsplain/)
  // In every other mode it is sealed all the same.
  assert.equal(await one.say('XVES MODE REJECT\r\n'), '250 XVES MODE REJECT\r\n')
  assert.match(await submit(one, 'sealedallthesame', 'bob'), /ves:\/\/vesmail\//)
  assert.doesNotMatch(await arrived('bob', 'sealedallthesame'), /body of/)
  one.close()
})

test('PLAIN, HIGH and XCHG: a recipient who has no account', async () => {
  const one = await client()
  await one.say('XVES MODE PLAIN\r\n')
  assert.match(await submit(one, 'modeplain', 'carol'), /NOT encrypted/)
  assert.match(await arrived('carol', 'modeplain'), /body of modeplain/)
  await one.say('XVES MODE REJECT\r\n')
  await one.say('MAIL FROM:<alice@lab.test>\r\n')
  assert.match(await one.say('RCPT TO:<carol@lab.test>\r\n'), /^450 4\.1\.0 /)
  await one.say('RSET\r\n')
  for (const [mode, xchg] of [
    ['HIGH', false],
    ['XCHG', true],
  ] as const) {
    await one.say(`XVES MODE ${mode}\r\n`)
    assert.match(await submit(one, `mode${mode}`, 'carol'), /ves:\/\/vesmail\//)
    const mail = await arrived('carol', `mode${mode}`)
    assert.doesNotMatch(mail, /body of/)
    assert.equal(/^X-VESmail-Xchg: /m.test(mail), xchg)
  }
  one.close()
})

test('workers are started with the collector’s flags', () => {
  const children = readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8').trim().split(' ')
  const started = children.map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0'))
  const workers = started.filter((words) => words.some((word) => word.includes('worker-entry')))
  assert.equal(workers.length, 2)
  for (const words of workers) for (const flag of COLLECTOR_FLAGS) assert(words.includes(flag), words.join(' '))
})

test('a worker killed in mid-message: the client is cut, nothing is delivered, the next connection works', async () => {
  const one = await client()
  await one.envelope('alice@lab.test', 'bob@lab.test')
  one.socket.write('In-Reply-To: <killedword@lab.test>\r\nSubject: a\r\n\r\nfirst half\r\n')
  const workers = readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8').trim().split(' ')
  const killed = workers.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker'))
  assert(killed.length >= 2, `${workers.length} children`)
  for (const pid of killed) process.kill(Number(pid), 'SIGKILL')
  while (!one.closed) await new Promise((resolve) => setImmediate(resolve))
  const two = await client()
  assert.match(await submit(two, 'afterkill', 'bob'), /^250/)
  await arrived('bob', 'afterkill')
  assert(mails('bob').every((mail) => !mail.includes('killedword')))
  two.close()
})
