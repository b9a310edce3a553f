/** What the configuration says of the embedded repository, as the command line that it becomes. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Config, DEFAULTS } from '../../src/base/config/options.ts'
import { GatewayError } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/log.ts'
import { RepositoryCompanion, repositoryArguments } from '../../src/cli/repository-companion.ts'

const folder = mkdtempSync(join(tmpdir(), 'vesmail-companion-'))
after(() => rmSync(folder, { recursive: true }))

function configured(options: Partial<Config>): Config {
  return { ...DEFAULTS, 'repository.listen': { host: '::1', port: 8380 }, 'repository.data': '/data', ...options }
}
const BASE = ['repository', 'serve', '--listen', '[::1]:8380', '--data', '/data']

test('every option of the embedded repository reaches it', () => {
  assert.equal(repositoryArguments(DEFAULTS), null)
  assert.deepEqual(repositoryArguments(configured({})), BASE)
  const url = 'postgresql://keys@localhost/keys'
  assert.deepEqual(
    repositoryArguments(
      configured({
        'repository.store': 'postgresql',
        'repository.url': url,
        'repository.domains': ['one.example', 'two'],
        'repository.origins': ['https://portal.example'],
      }),
    ),
    [
      ...BASE,
      ...['--database', url],
      ...['--domain', 'vesmail', '--domain', 'one.example', '--domain', 'two'],
      ...['--origin', 'https://portal.example'],
    ],
  )
})

test('a database that is named half, or with its password for all to see, is refused by the name of the option', () => {
  const refused = (options: Partial<Config>, reason: RegExp) =>
    assert.throws(
      () => repositoryArguments(configured(options)),
      (error) =>
        error instanceof GatewayError && error.code === 'CONFIG_INVALID' && reason.test(`${error.detail.reason}`),
    )
  const postgresql = { 'repository.store': 'postgresql' } as const
  refused({ 'repository.url': 'postgresql://h/d' }, /^repository\.url is for repository\.store "postgresql"/)
  refused(postgresql, /^repository\.url is needed/)
  refused({ ...postgresql, 'repository.url': 'mysql://h/d' }, /^repository\.url expected postgresql:/)
  refused(
    { ...postgresql, 'repository.url': 'postgresql://u:geheim@h/d' },
    /^repository\.url has a password: (?!.*geheim)/,
  )
  const file = join(folder, 'repository.json')
  writeFileSync(file, '{"database":"postgresql://u:p@h/d"}', { mode: 0o600 })
  assert.deepEqual(repositoryArguments(configured({ ...postgresql, 'repository.config': file })), [
    ...BASE,
    ...['--config', file],
  ])
})

test('at the start it is an error, at a reload the repository that runs goes on', async () => {
  const bad = configured({ 'repository.store': 'postgresql' })
  await assert.rejects(new RepositoryCompanion(silentLog).configure(bad), { code: 'CONFIG_INVALID' })
  const lines: unknown[][] = []
  const companion = new RepositoryCompanion({ ...silentLog, write: (...line: unknown[]) => void lines.push(line) })
  await companion.configure(DEFAULTS)
  await companion.configure(bad)
  assert.match(JSON.stringify(lines), /kept as it was.*repository\.url is needed/)
  await companion.stop()
})
