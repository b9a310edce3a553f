/** What breaks, and what clients see of it: killed workers, a killed repository; and what the log says of secrets. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { labGateway, transportTo } from '../lab/gateway.ts'
import { assertNoSecrets } from '../lab/log-secrets.ts'
import { LAB_USERS, labProvider } from '../lab/provider.ts'
import { until } from '../lab/until.ts'

const provider = await labProvider()
const gateway = await labGateway(provider, { configuration: { imap: { debug: true }, smtp: { debug: true } } })

interface LogLine {
  readonly msg: string
  readonly [field: string]: unknown
}

const log = (): LogLine[] =>
  readFileSync(gateway.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine)

function transport(pass = gateway.passwords.alice!): ReturnType<typeof transportTo> {
  return transportTo(gateway, pass)
}

/** @returns what the server said, or null where it could not be done (yet) */
async function send(subject: string, text: string): Promise<string | null> {
  try {
    const { response } = await transport().sendMail({ from: 'alice@lab.test', to: 'bob@lab.test', subject, text })
    return response
  } catch {
    return null
  }
}

test('all workers killed: who connects then is greeted when one is there again, on the same port', async () => {
  const pids = log()
    .filter(({ msg }) => msg === 'worker started')
    .map(({ workerPid }) => Number(workerPid))
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const one = connect({ port: gateway.ports.imaps, host: 'localhost', ca: gateway.ca }, () => resolve(one))
    one.on('error', reject)
  })
  const greeting = await firstWords(socket)
  assert.match(greeting, /^\* OK /)
  socket.destroy()
})

test('the repository killed: it is started again, and mail goes on; nothing is sent in plaintext meanwhile', async () => {
  process.kill(repositoryPid(), 'SIGKILL')
  const response = await until(() => send('after the repository died', 'still sealed'))
  assert.match(response, /^250/)
  await until(() =>
    log().filter(({ msg, result }) => msg === 'repository' && result === 'ready').length > 1 ? true : null,
  )
  assert.ok(log().some(({ msg, result }) => msg === 'repository' && result === 'died'))
})

function repositoryPid(): number {
  const lines = log().filter(({ msg, result }) => msg === 'repository' && result === 'ready')
  return Number(lines.at(-1)?.repositoryPid)
}

test('no line of the log, at the debug level, has a secret or anything of a mail', async () => {
  const words = { subject: 'heron-subject-4711', text: 'kingfisher-body-4712', wrong: 'wrong-password-4713' }
  await until(() => send(words.subject, words.text))
  await assert.rejects(transport(words.wrong).sendMail({ from: 'alice@lab.test', to: 'bob@lab.test', text: 'x' }))
  const text = readFileSync(gateway.logFile, 'utf8')
  assert.match(text, /"msg":"sealed"/)
  assert.match(text, /"code":"BAD_CREDENTIALS"/)
  const secrets = [
    ...Object.values(words),
    ...Object.values(gateway.passwords),
    ...LAB_USERS.map(({ password }) => password),
  ]
  assertNoSecrets(text, secrets)
})

function firstWords(socket: TLSSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('data', (data: Buffer) => resolve(data.toString('latin1')))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed')))
  })
}
