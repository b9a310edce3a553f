/** That the watch over the log finds what is planted there; otherwise its silence would mean nothing. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Session } from '../../src/engine/session.ts'
import { LogWatch } from './log-secrets.ts'

const SECRET = 'hunter2 "quoted" ü'

test('a secret is found in each of its forms, in any field, also in a line that is no JSON', () => {
  const watch = new LogWatch()
  watch.secret(SECRET, Buffer.from('0123456789abcdef'))
  const octets = Buffer.from(SECRET)
  for (const form of [
    SECRET,
    octets.toString('base64'),
    octets.toString('base64url'),
    octets.toString('hex'),
    encodeURIComponent(SECRET),
    Buffer.from('0123456789abcdef').toString('base64'),
  ]) {
    for (const line of [
      JSON.stringify({ msg: 'x', reason: `say ${form}.` }),
      JSON.stringify({ msg: form }),
      `x ${form} y`,
    ]) {
      assert.throws(() => watch.assertClean(`{"msg":"before"}\n${line}\n`), /shows a secret/, line)
    }
  }
  watch.assertClean('{"msg":"login","result":"ok"}\nhunter\n')
  assert.throws(() => watch.secret('short'), /in every log/)
})

test('what a session said is found: a line, a piece of one, a subject; names are public', () => {
  const session: Session = {
    start: () => [{ do: 'send', side: 'client', bytes: Buffer.from('the answer to somebody’s FETCH\r\n') }],
    step: () => [],
    wants: () => true,
  }
  const watch = new LogWatch()
  const overheard = watch.session(session)
  overheard.start()
  const mail =
    'Subject: the heron and the fish\r\nTo: bob@lab.test, somebody.else@lab.test\r\n\r\nMeet me at the old mill tonight.\r\n'
  overheard.step({ on: 'bytes', side: 'client', bytes: Buffer.from(mail) })
  const planted = [
    'Meet me at the old mill tonight.',
    'x Meet me at the old mi',
    'the old mill',
    'about: the heron and the fish',
    'the answer to somebody',
  ]
  for (const leak of planted) {
    assert.throws(
      () => watch.assertClean(JSON.stringify({ msg: 'message', reason: leak })),
      /the log (?:shows|quotes)/,
      leak,
    )
    assert.throws(
      () => watch.assertClean(JSON.stringify({ msg: 'message', parts: ['a', leak] })),
      /the log (?:shows|quotes)/,
      leak,
    )
  }
  watch.log.write('info', 'recipient', { address: 'somebody.else@lab.test', code: 'OK', octets: 5 })
  watch.assertClean()
})

for (const name of ['leaky-smtp.ts', 'leaky-guard.ts']) {
  test(`a test file whose gateway leaks fails: ${name}`, () => {
    const file = fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url))
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    for (const leak of ['no', 'yes']) {
      const ran = spawnSync(process.execPath, ['--test', file], { env: { ...env, LEAK: leak }, encoding: 'utf8' })
      const said = `${ran.stdout}\n${ran.stderr}`
      assert.equal(ran.status === 0, leak === 'no', said)
      assert.equal(/the log shows a secret/.test(said), leak === 'yes', said)
    }
  })
}
