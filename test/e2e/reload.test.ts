/** What SIGHUP takes over, with real sessions: banners, limits, and how the sessions of each protocol are sent away. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { labGateway, transportTo } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

const provider = await labProvider()
const gateway = await labGateway(provider, {
  workers: 1,
  configuration: {
    imap: { limits: { drainWindowSeconds: 0, drainSeconds: 600 } },
    smtp: { limits: { drainWindowSeconds: 600, drainSeconds: 600 } },
  },
})

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (holds()) return
    await new Promise((later) => setTimeout(later, 50))
  }
  assert.fail('never came true')
}

/** Says nothing by itself; `said` is all that it was told. */
async function idle(port: number): Promise<{ said: string; readonly socket: TLSSocket }> {
  const socket = connect({ port, host: 'localhost', ca: gateway.ca })
  const client = { said: '', socket }
  socket.setEncoding('latin1').on('data', (text: string) => {
    client.said += text
  })
  socket.on('error', () => {})
  await until(() => client.said.includes('\n'))
  return client
}

async function send(to: readonly string[]): Promise<{ readonly accepted: unknown[]; readonly rejected: unknown[] }> {
  const transport = transportTo(gateway)
  return transport.sendMail({ from: 'alice@lab.test', to: [...to], subject: 'x', text: 'words' })
}

const mails = (user: string): string[] => {
  const folder = join(provider.maildir(user), 'new')
  if (!existsSync(folder)) return []
  return readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'))
}

test('a reload takes over banners and limits, and sends each protocol’s sessions away as the old file says', async () => {
  const both = ['bob@lab.test', 'alice@lab.test']
  assert.equal((await send(both)).accepted.length, 2)
  await until(() => mails('bob').length === 1)
  assert.match(mails('bob')[0]!, /encrypted end to end/)
  const imap = [await idle(gateway.ports.imaps), await idle(gateway.ports.imaps)]
  const smtp = [await idle(gateway.ports.submissions), await idle(gateway.ports.submissions)]

  const banner = join(gateway.directory, 'banner')
  writeFileSync(banner, 'Content-Type: text/plain\r\n\r\nA banner of our own.\r\n')
  const before = JSON.parse(readFileSync(gateway.configFile, 'utf8')) as Record<string, object>
  const changed = { '*': { ...before['*'], banner: [banner] }, smtp: { limits: { recipients: 1 } } }
  writeFileSync(gateway.configFile, JSON.stringify({ ...before, ...changed }))
  process.kill(gateway.pid, 'SIGHUP')
  await until(() => readFileSync(gateway.logFile, 'utf8').includes('"msg":"reloaded"'))

  // IMAP without a window: all at once. SMTP over ten minutes: the first at once, the other in five.
  await until(() => imap.every(({ said }) => said.includes('* BYE')))
  await until(() => smtp.filter(({ said }) => said.includes('\n421 ')).length === 1)
  const left = smtp.find(({ said }) => !said.includes('\n421 '))!
  left.socket.write('NOOP\r\n')
  await until(() => left.said.includes('\n250 '))

  const { accepted, rejected } = await send(both)
  assert.deepEqual([accepted.length, rejected.length], [1, 1])
  await until(() => mails('bob').length === 2)
  assert.equal(mails('bob').filter((mail) => mail.includes('A banner of our own.')).length, 1)
  for (const { socket } of [...imap, ...smtp]) socket.destroy()
})
