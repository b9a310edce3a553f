import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readRepositoryConfig } from '../../../src/cli/repository-config.ts'

const PROGRAM = fileURLToPath(new URL('../../../bin/vesmail.ts', import.meta.url))

interface Ran {
  readonly child: ChildProcess
  readonly url: string
}

async function serve(data: string, ...more: readonly string[]): Promise<Ran> {
  const args = [PROGRAM, 'repository', 'serve', '--listen', '127.0.0.1:0', '--data', data, ...more]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  for await (const chunk of child.stdout!) {
    said += String(chunk)
    if (said.includes('\n')) break
  }
  assert.match(said, /^ready http:\/\/127\.0\.0\.1:\d+\/v1\/\n$/)
  return { child, url: said.slice('ready '.length).trim() }
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit')
  return child.exitCode
}

test('serve: says ready, keeps its secrets to itself, holds its folder, ends on SIGTERM', async () => {
  const data = join(mkdtempSync(join(tmpdir(), 'vesmail-serve-')), 'data')
  try {
    const { child, url } = await serve(data)
    for (const file of ['admin-token', 'token-key', 'repository.db', 'repository.db-wal']) {
      assert.equal(statSync(join(data, file)).mode & 0o777, 0o600, file)
    }
    assert.equal(statSync(data).mode & 0o777, 0o700)
    const admin = { authorization: `Bearer ${readFileSync(join(data, 'admin-token'), 'utf8')}` }
    const accounts = await fetch(`${url}admin/accounts`, { headers: admin })
    assert.deepEqual([accounts.status, await accounts.json()], [200, { result: { accounts: [] } }])
    assert.equal((await fetch(`${url}admin/accounts`)).status, 401)
    const missing = await fetch(`${url}vaultKeys`, {
      method: 'POST',
      body: JSON.stringify({ externals: { domain: 'vesmail', externalId: 'x@y' }, $op: 'fetch' }),
    })
    assert.equal(missing.status, 404)
    assert.equal(((await missing.json()) as { errors: { type: string }[] }).errors[0]!.type, 'NotFound')
    // Too large for a stranger, and far too large: the same form, whoever refuses it.
    for (const octets of [20_000, 300_000]) {
      const large = await fetch(`${url}vaultKeys`, { method: 'POST', body: ' '.repeat(octets) })
      const { errors } = (await large.json()) as { errors: { number: number; type: string; message: string }[] }
      assert.deepEqual([large.status, errors[0]!.number, errors[0]!.type], [413, 413, 'InvalidValue'])
      assert.equal(typeof errors[0]!.message, 'string')
    }
    const metrics = url.replace('/v1/', '/metrics')
    assert.equal((await fetch(metrics)).status, 401)
    const text = await (await fetch(metrics, { headers: admin })).text()
    assert.match(text, /vesmail_repository_requests_total\{method="POST",route="vaultKeys",status="404"\} 1/)
    const preflight = await fetch(`${url}vaultItems`, { method: 'OPTIONS', headers: { origin: 'https://a.test' } })
    assert.deepEqual([preflight.status, preflight.headers.get('access-control-allow-origin')], [200, '*'])

    const second = spawn(
      process.execPath,
      [PROGRAM, 'repository', 'serve', '--listen', '127.0.0.1:0', '--data', data],
      { stdio: 'pipe' },
    )
    let complaint = ''
    second.stderr.on('data', (chunk) => {
      complaint += String(chunk)
    })
    assert.equal(await ended(second), 65)
    assert.match(complaint, /another repository serves/)

    child.kill('SIGTERM')
    assert.equal(await ended(child), 0)
    const token = readFileSync(join(data, 'admin-token'), 'utf8')
    const again = await serve(data)
    assert.equal(readFileSync(join(data, 'admin-token'), 'utf8'), token)
    again.child.kill('SIGTERM')
    assert.equal(await ended(again.child), 0)
  } finally {
    rmSync(join(data, '..'), { recursive: true, force: true })
  }
})

test('configuration: what is wrong is named, templates are read, secrets stay hidden', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-config-'))
  try {
    const file = join(folder, 'repository.json')
    const read = (value: unknown) => {
      writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value))
      return readRepositoryConfig(file)
    }
    writeFileSync(join(folder, 'invite.txt'), 'Subject: Hello {email}\n\nBy {sender}\n')
    const mail = { smtp: 'smtp://u:hidden@127.0.0.1:25', from: 'k@x.org', templates: folder }
    const config = read({ database: 'postgresql://x/y', settings: { domains: ['a', 'b'], invite: false }, mail })
    assert.deepEqual(
      [config.database, config.settings.domains, config.settings.invite],
      ['postgresql://x/y', ['a', 'b'], false],
    )
    assert.equal(config.settings.maxEntriesPerItem, readRepositoryConfig(null).settings.maxEntriesPerItem)
    assert.deepEqual(config.mail!.templates, { invite: { subject: 'Hello {email}', text: 'By {sender}\n' } })
    assert.ok(!JSON.stringify(config).includes('hidden'))
    const fault = (value: unknown): string => {
      try {
        read(value)
      } catch (error) {
        const { code, detail } = error as { code: string; detail: { key?: string } }
        assert.equal(code, 'CONFIG_INVALID')
        return detail.key ?? ''
      }
      return 'none'
    }
    assert.equal(fault('{'), '')
    assert.equal(fault({ settings: { maxEntriesPerItem: 0 } }), 'settings.maxEntriesPerItem')
    assert.equal(fault({ settings: { nonsense: 1 } }), 'settings')
    assert.equal(fault({ database: 'mysql://x' }), 'database')
    assert.equal(fault({ mail: { smtp: 'http://x', from: 'a@b' } }), 'mail.smtp')
    writeFileSync(join(folder, 'invite.txt'), 'no subject')
    assert.equal(fault({ mail }), '')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
