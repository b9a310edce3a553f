/**
 * Restarts that nobody notices, with real sessions in front of a real provider: reloads under load lose, double, refuse
 * and cut nothing; a new certificate is taken over; a stop says goodbye.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { Load } from '../../bench/restart/load.ts'
import { delivered } from '../../bench/restart/mailbox.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await holds()) return
    await new Promise((later) => setTimeout(later, 50))
  }
  assert.fail('never came true')
}

const limits = { drainWindowSeconds: 1, drainSeconds: 20 }

test('three reloads under load: nothing refused, hung, cut, lost or doubled', async () => {
  const provider = await labProvider()
  const gateway = await labGateway(provider, { configuration: { imap: { limits }, smtp: { limits } } })
  const load = new Load({
    submissionsPort: gateway.ports.submissions,
    imapsPort: gateway.ports.imaps,
    ca: gateway.ca,
    accounts: [{ user: 'alice@lab.test', pass: gateway.passwords.alice! }],
    to: 'bob@lab.test',
    senders: 5,
    readers: 5,
    idlers: 5,
    thinkMs: 200,
  })
  await load.start()
  for (let generation = 2; generation <= 4; generation++) {
    process.kill(gateway.pid, 'SIGHUP')
    await until(() =>
      new RegExp(`"generation":${generation},.*"msg":"reloaded"`).test(readFileSync(gateway.logFile, 'utf8')),
    )
  }
  // Everyone has been sent away at least once: the first worker's sessions are all gone.
  await until(() => (readFileSync(gateway.logFile, 'utf8').match(/"msg":"worker ended"/g) ?? []).length >= 5)
  const seen = await load.stop()
  assert.deepEqual(seen.complaints, [])
  assert.deepEqual([seen.refused, seen.hung, seen.cut], [0, 0, 0])
  assert.ok(seen.goodbyes >= 15, `${seen.goodbyes} goodbyes`)
  assert.ok(seen.accepted.size >= 5)
  const found = await delivered(provider.maildir('bob'), seen.accepted)
  assert.deepEqual(
    [...seen.accepted].filter((id) => found.get(id) !== 1),
    [],
    'each accepted mail is there once',
  )
  assert.deepEqual(
    [...found.keys()].filter((id) => !seen.accepted.has(id)),
    [],
    'and no other',
  )
})

test('a renewed certificate is used without a reload', async () => {
  const provider = await labProvider()
  const gateway = await labGateway(provider, { users: [] })
  const { cert, pkey } = selfSigned(['renewed.test', 'localhost'], Date.now())
  const { '*': all } = JSON.parse(readFileSync(gateway.configFile, 'utf8')) as {
    '*': { tls: { cert: string; pkey: string } }
  }
  const subject = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({ port: gateway.ports.imaps, host: '127.0.0.1', rejectUnauthorized: false })
      socket.on('secureConnect', () => {
        resolve(String(socket.getPeerCertificate().subject.CN))
        socket.destroy()
      })
      socket.on('error', reject)
    })
  assert.notEqual(await subject(), 'renewed.test')
  writeFileSync(all.tls.pkey, pkey)
  writeFileSync(all.tls.cert, cert)
  await until(async () => (await subject()) === 'renewed.test')
})
