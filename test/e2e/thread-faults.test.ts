/**
 * A thread of the pool that dies under a mail, in a real gateway: the client is told to try again or loses its connection
 * unanswered, so that it keeps the mail; others' mail passes; the same gateway sends the next one.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readMail } from '../../src/cli/demo/mail.ts'
import { labGateway, transportTo } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

const hooks = new URL('./fixtures/unruly-threads.mjs', import.meta.url)
const provider = await labProvider()
process.env.NODE_OPTIONS = `--import=${hooks.href}`
const gateway = await labGateway(provider, { configuration: { '*': { pool: { threads: 1 } } } })
delete process.env.NODE_OPTIONS

const LINE = `${'a line of a long letter, '.repeat(3)}\r\n`
const letter = (word: string): string => `${LINE.repeat(4000)}${word}\r\n${LINE.repeat(4000)}`

async function send(text: string): Promise<string> {
  const transport = transportTo(gateway)
  try {
    const { response } = await transport.sendMail({ from: 'alice@lab.test', to: 'bob@lab.test', subject: 'x', text })
    return response
  } catch (error) {
    const { response, message } = error as Error & { response?: string }
    return response ?? message
  }
}

function delivered(): number {
  return ['new', 'cur'].reduce((sum, folder) => {
    const path = join(provider.maildir('bob'), folder)
    return sum + (existsSync(path) ? readdirSync(path).length : 0)
  }, 0)
}

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (holds()) return
    await new Promise((later) => setTimeout(later, 50))
  }
  assert.fail('never came true')
}

const log = (): string => readFileSync(gateway.logFile, 'utf8')
const count = (pattern: RegExp): number => log().match(pattern)?.length ?? 0

for (const word of ['thread-that-exits', 'thread-that-aborts', 'thread-that-eats-memory']) {
  test(`${word}: costs the mail it had, which the client is told to send again, and no other`, async () => {
    const before = delivered()
    const deaths = count(/"msg":"thread-died"/g)
    const [answer, neighbour] = await Promise.all([send(letter(word)), send(letter('well'))])
    assert.match(answer, /^451 4\.3\.0 XVES-32 /)
    assert.match(neighbour, /^250/)
    assert.match(await send(letter('well')), /^250/)
    await until(() => delivered() === before + 2)
    assert.equal(count(/"msg":"thread-died"/g), deaths + 1)
    assert.equal(count(/"msg":"worker died"/g), 0)
  })
}

test('native code that aborts in a thread ends its worker: no answer to the mail it had, and the next one passes', async () => {
  const before = delivered()
  assert.doesNotMatch(await send(letter('thread-that-dies-natively')), /^\d/)
  await until(() => count(/"msg":"worker died"/g) === 1)
  assert.match(log(), /"signal":"SIGABRT","msg":"worker ended"|"msg":"worker ended".*"signal":"SIGABRT"/)
  for (let i = 0; i < 2; i++) assert.match(await send(letter('well')), /^250/)
  await until(() => delivered() === before + 2)
  const read = await readMail(
    { host: '127.0.0.1', port: gateway.ports.imaps, secure: true, ca: gateway.ca },
    { user: 'bob@lab.test', pass: gateway.passwords.bob! },
  )
  assert.ok(read?.includes('a line of a long letter'))
})
