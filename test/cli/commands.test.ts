/** The command line as scripts call it: real processes, against our own repository. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Secret } from '../../src/base/secret.ts'
import { shareItem } from '../../src/ves/client/sharing.ts'
import { LogWatch } from '../lab/log-secrets.ts'
import { type OwnRepository, ownRepository } from '../ves/client/own-repository.ts'

const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))
let repository: OwnRepository
let folder: string
/** Tokens that were mailed, by address. */
const mailed = new Map<string, string>()
before(async () => {
  repository = await ownRepository(
    { minRecoveryDelaySeconds: 0 },
    {
      onboarding: (email, token) => void mailed.set(email, token),
      invite: () => {},
      recoveryStarted: () => {},
      close: async () => {},
    },
  )
  folder = mkdtempSync(join(tmpdir(), 'vesmail-cli-'))
})
after(async () => {
  await repository.close()
  rmSync(folder, { recursive: true })
})

/** Over what commands say on stderr. */
const watch = new LogWatch()

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function run(args: readonly string[], input = ''): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(VESMAIL, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.setEncoding('latin1').on('data', (text) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text
    })
    child.on('error', reject)
    child.on('close', (code) => {
      try {
        watch.assertClean(err)
        resolve({ code, out, err })
      } catch (error) {
        reject(error)
      }
    })
    // A command that does not read its input closes it early.
    child.stdin.on('error', () => {})
    child.stdin.end(Buffer.from(input, 'latin1'))
  })
}

const api = () => ['--api', repository.api]
const admin = () => [...api(), '--admin-token-file', repository.adminTokenFile]

interface Made {
  email: string
  vault: string
  password: string
  recoveryKey: string
}

async function create(email: string, ...more: string[]): Promise<Made> {
  const { code, out, err } = await run(['account', 'create', email, ...admin(), '--json', ...more])
  assert.equal(code, 0, err)
  const made = JSON.parse(out) as Made
  watch.secret(made.password, made.recoveryKey)
  return made
}

async function succeeds(args: readonly string[], input = ''): Promise<string> {
  const { code, out, err } = await run(args, input)
  assert.equal(code, 0, `${args.join(' ')}: ${err}`)
  return out
}

async function fails(code: number, args: readonly string[], input = ''): Promise<string> {
  const ran = await run(args, input)
  assert.equal(ran.code, code, `${args.join(' ')}: ${ran.err}`)
  return ran.err
}

const MAIL = 'From: a@cli.org\r\nTo: "B, Bob" <b@cli.org>\r\nCc: new@cli.org\r\nSubject: caf\xe9\r\n\r\nHello\r\n'

describe('vesmail', () => {
  test('version, help, usage', async () => {
    assert.match(await succeeds(['-V']), /^VESmail \d+\.\d+\.\d+ /)
    assert.match(await succeeds(['--help']), /encrypt +encrypt a message/)
    assert.match(await succeeds(['acc', 'create', '--help']), /Usage: vesmail account create/)
    assert.match(await fails(64, []), /no command/)
    assert.match(await fails(64, ['frobnicate']), /unknown command/)
    assert.match(await fails(64, ['account', 'create', 'x@cli.org', '--nonsense']), /unknown option/)
    assert.match(await fails(64, ['account', 'create', 'nonsense', ...admin()]), /not an e-mail address/)
  })

  test('account create: form of the answer, given password, exists already, wrong token', async () => {
    const made = await create('form@cli.org')
    assert.deepEqual(Object.keys(made), ['email', 'vault', 'password', 'recoveryKey'])
    assert.equal(made.vault, 'ves://vesmail/form@cli.org/')
    assert.match(made.password, /^[A-Za-z0-9]{32}$/)
    const args = ['account', 'create', 'Given@cli.org', ...admin(), '--password-stdin', '--algo', 'RSA', '--json']
    assert.equal((JSON.parse(await succeeds(args, 'chosen one\r\n')) as Made).password, 'chosen one')
    assert.match(await fails(66, args, 'chosen one'), /XVES-3.6/)
    const wrong = join(folder, 'token')
    writeFileSync(wrong, 'wrong\n', { mode: 0o600 })
    await fails(66, ['account', 'create', 'y@cli.org', ...api(), '--admin-token-file', wrong])
    await fails(65, ['account', 'create', 'y@cli.org', ...api(), '--admin-token-file', join(folder, 'missing')])
  })

  test('an account of one’s own: the proof comes by mail, and only once', async () => {
    await succeeds(['account', 'invite', 'self@cli.org', ...api()])
    const token = mailed.get('self@cli.org')!
    assert.ok(token.length > 10)
    const args = ['account', 'create', 'self@cli.org', ...api(), '--json', '--token', token]
    const { vault, password } = JSON.parse(await succeeds(args)) as Made
    await repository.client().unlock(vault, new Secret(Buffer.from(password)))
    await fails(66, args)
    await fails(66, ['account', 'create', 'other@cli.org', ...api(), '--token', 'made-up'])
  })

  test('encrypt and decrypt give the very octets back, to all who may', async () => {
    const a = await create('a@cli.org', '--algo', 'ECDH')
    const b = await create('b@cli.org')
    const sealed = await succeeds(['encrypt', '-a', 'a@cli.org', '-u', a.password, ...api()], MAIL)
    assert.ok(!sealed.includes('Hello') && !sealed.includes('caf\xe9'))
    assert.match(sealed, /^X-VESmail-ID: <[0-9a-f]{32}\.VESmail@/m)
    assert.match(sealed, /^X-VESmail-Xchg: \[\[\d+,\d+,"[A-Za-z0-9]{32}"\]\]\r$/m)
    assert.match(sealed, /^X-VESmail-Verify: /m)
    assert.equal(await succeeds(['dec', `-ab@cli.org`, `--VESkey=${b.password}`, ...api()], sealed), MAIL)
    assert.equal(await succeeds(['-a', 'a@cli.org', '-u', a.password, ...api(), 'dec'], sealed), MAIL)
    // Who had no account makes one, and reads it.
    const late = await create('new@cli.org')
    assert.equal(await succeeds(['dec', '-a', 'new@cli.org', '-u', late.password, ...api()], sealed), MAIL)

    const c = await create('c@cli.org')
    const denied = await fails(66, ['dec', '-a', 'c@cli.org', '-u', c.password, ...api()], sealed)
    assert.match(denied, /XVES-3.7/)
    assert.match(await fails(66, ['dec', '-a', 'b@cli.org', '-u', 'wrong', ...api()], sealed), /XVES-6/)
    const damaged = sealed.replace(/(ves\.encrypted\r\nContent-Transfer-Encoding: base64\r\n\r\n)..../, '$1AAAA')
    assert.notEqual(damaged, sealed)
    assert.match(await fails(66, ['dec', '-a', 'b@cli.org', '-u', b.password, ...api()], damaged), /XVES-3.4/)
    // What is not encrypted passes.
    assert.equal(await succeeds(['dec', '-a', 'b@cli.org', '-u', b.password, ...api()], MAIL), MAIL)
  })

  test('a session token in place of the VESkey encrypts, also for who has no vault, and opens nothing', async () => {
    const a = await create('token-a@cli.org')
    const b = await create('token-b@cli.org')
    const session = await repository.client().unlock(a.vault, new Secret(Buffer.from(a.password)))
    const token = (await session.bearer()).expose()
    const mail = 'From: token-a@cli.org\r\nTo: token-b@cli.org, token-new@cli.org\r\nSubject: s\r\n\r\nHello\r\n'
    const sealed = await succeeds(['encrypt', '-a', 'token-a@cli.org', '-T', token, ...api()], mail)
    assert.ok(!sealed.includes('Hello'))
    for (const { email, password } of [a, b]) {
      assert.equal(await succeeds(['dec', '-a', email, '-u', password, ...api()], sealed), mail)
    }
    // Again: the temp key of before is used, though its VESkey is out of reach.
    const again = await succeeds(['encrypt', '-a', 'token-a@cli.org', `--token=${token}`, ...api()], mail)
    const late = await create('token-new@cli.org')
    await succeeds(['dec', '-a', a.email, '-u', a.password, ...api()], again)
    for (const one of [sealed, again]) {
      assert.equal(await succeeds(['dec', '-a', late.email, '-u', late.password, ...api()], one), mail)
    }
    assert.match(await fails(64, ['dec', '-a', a.email, '-T', token, ...api()], sealed), /opens no keys/)
    assert.match(await fails(64, ['enc', '-a', a.email, '-T', token, '-u', a.password, ...api()], mail), /not both/)
    assert.match(await fails(66, ['enc', '-a', b.email, '-T', token, ...api()], mail), /another user/)
    assert.match(await fails(66, ['enc', '-a', a.email, '-T', `${token.slice(0, -4)}AAAA`, ...api()], mail), /XVES-3.6/)
  })

  test('nothing leaves where a recipient cannot be looked up', async () => {
    const a = await create('lookup@cli.org')
    const ran = await run(['enc', '-a', 'lookup@cli.org', '-u', a.password, '--api', 'http://127.0.0.1:9/v1/'], MAIL)
    assert.equal(ran.code, 66)
    assert.equal(ran.out, '')
    assert.match(ran.err, /XVES-3.2/)
  })

  test('with now.dir, a copy for readers without a gateway', async () => {
    const { password } = await create('Spool@cli.org')
    const config = join(folder, 'vesmail.conf')
    const dir = join(folder, 'spool')
    writeFileSync(
      config,
      `# a comment\n{"*": {"now": {"dir": "${dir}", "url": "https://v.org/"}, "subject": "sealed"}}\n`,
    )
    const args = ['enc', '-a', 'spool@cli.org', '-u', password, ...api(), '-C', config]
    const mail = 'From: spool@cli.org\nMessage-ID: <spooled@cli.org>\nSubject: x\n\nHello\n'
    const sealed = await succeeds(args, mail)
    assert.match(sealed, /^Subject: sealed$/m)
    assert.match(sealed, /https:\/\/v\.org\/spooled@cli\.org/)
    const [name, ...others] = readdirSync(join(dir, 'spool@cli.org'))
    assert.deepEqual(others, [])
    assert.equal(readFileSync(join(dir, 'spool@cli.org', name!), 'latin1'), sealed)
    // The same again: told, and not a failure.
    const again = await run(args, mail)
    assert.equal(again.code, 0)
    assert.match(again.err, /not spooled/)
    writeFileSync(config, '{"*": {"now": 5}')
    assert.match(await fails(67, args, mail), /vesmail\.conf:1/)
  })

  test('profiles: set, show, list, delete', async () => {
    const { password } = await create('p@cli.org')
    const file = join(folder, 'profile.json')
    writeFileSync(file, JSON.stringify({ imap: { host: 'i.org', password: 'geheim' }, smtp: { host: 's.org' } }))
    const profile = (...args: string[]) => ['profile', ...args, ...api(), '--password-stdin']
    await succeeds(profile('set', 'p@cli.org', '--from', file), `${password}\n`)
    await succeeds(profile('set', 'p@cli.org!work', '--from', file), password)
    const shown = await succeeds(profile('show', 'p@cli.org'), password)
    assert.ok(shown.includes('i.org') && !shown.includes('geheim'))
    assert.ok((await succeeds(profile('show', 'p@cli.org!work', '--secrets'), password)).includes('geheim'))
    assert.equal(await succeeds(profile('list', 'p@cli.org'), password), 'p@cli.org!\np@cli.org!work\n')
    // A new version stays shared with whoever the old one was shared with.
    const uri = 'ves://vesmail/p@cli.org!'
    const other = await create('shared@cli.org')
    const owner = await repository.client().unlock('ves://vesmail/p@cli.org/', new Secret(Buffer.from(password)))
    await shareItem(owner, uri, [await owner.vault('shared@cli.org')])
    writeFileSync(file, JSON.stringify({ imap: { host: 'new.org' } }))
    await succeeds(profile('set', 'p@cli.org', '--from', file), password)
    const theirs = await repository.client().unlock(other.vault, new Secret(Buffer.from(other.password)))
    assert.match((await theirs.item(uri)).value.expose().toString(), /new\.org/)
    await succeeds(profile('delete', 'p@cli.org!work'), password)
    assert.equal(await succeeds(profile('list', 'p@cli.org'), password), 'p@cli.org!\n')
    await fails(66, profile('show', 'p@cli.org!work'), password)
    writeFileSync(file, '{"imap":{}}')
    assert.match(await fails(64, profile('set', 'p@cli.org', '--from', file), password), /imap/)
    await fails(65, profile('set', 'p@cli.org', '--from', join(folder, 'missing')), password)
  })

  test('administration: list, show, lock, sessions, delete', async () => {
    const { password } = await create('adm@cli.org')
    await succeeds(['profile', 'list', 'adm@cli.org', ...api(), '--password-stdin'], password)
    assert.match(await succeeds(['account', 'list', ...admin()]), /adm@cli\.org +active/)
    assert.match(
      await succeeds(['account', 'show', 'adm@cli.org', ...admin()]),
      /secondary +OQS +ves:\/\/vesmail\/adm@cli/,
    )
    const sessions = ['account', 'sessions', 'adm@cli.org', ...admin(), '--json']
    assert.equal((JSON.parse(await succeeds(sessions)) as unknown[]).length, 1)
    await succeeds(['account', 'sessions', 'adm@cli.org', ...admin(), '--end-all'])
    assert.deepEqual(JSON.parse(await succeeds(sessions)), [])
    await succeeds(['account', 'lock', 'adm@cli.org', ...admin()])
    const login = ['profile', 'list', 'adm@cli.org', ...api(), '--password-stdin']
    assert.match(await fails(66, login, password), /XVES-8/)
    await succeeds(['account', 'unlock', 'adm@cli.org', ...admin()])
    await succeeds(login, password)
    assert.match(await fails(64, ['account', 'delete', 'adm@cli.org', ...admin()]), /--yes/)
    await succeeds(['account', 'delete', 'adm@cli.org', ...admin(), '--yes'])
    assert.match(await fails(66, login, password), /XVES-6/)
  })

  test('rotation and the recovery key', async () => {
    const made = await create('rot@cli.org', '--algo', 'RSA')
    const rotate = ['account', 'rotate', 'rot@cli.org', ...api(), '--password-stdin', '--json']
    const sealed = await succeeds(['enc', '-a', 'rot@cli.org', '-u', made.password, ...api()], MAIL)
    const kept = JSON.parse(await succeeds(rotate, made.password)) as Made & { entries: number }
    assert.equal(kept.password, made.password)
    assert.ok(kept.entries >= 1)
    const chosen = JSON.parse(
      await succeeds([...rotate, '--new-password-stdin'], `${made.password}\nanother one\n`),
    ) as Made
    assert.equal(chosen.password, 'another one')
    const random = JSON.parse(await succeeds([...rotate, '--new-password'], 'another one')) as Made
    assert.equal(await succeeds(['dec', '-a', 'rot@cli.org', '-u', random.password, ...api()], sealed), MAIL)
    await fails(66, ['dec', '-a', 'rot@cli.org', '-u', made.password, ...api()], sealed)

    const recover = ['account', 'recover', 'rot@cli.org', ...api(), '--recovery-key-stdin', '--json']
    assert.equal((JSON.parse(await succeeds(recover, made.recoveryKey)) as Made).password, random.password)
    const primary = JSON.parse(await succeeds([...rotate, '--primary'], made.recoveryKey)) as Made
    assert.notEqual(primary.recoveryKey, made.recoveryKey)
    await fails(66, recover, made.recoveryKey)
    assert.equal((JSON.parse(await succeeds(recover, primary.recoveryKey)) as Made).password, random.password)
  })

  test('recovery by friends', async () => {
    const owner = await create('owner@cli.org')
    const friends = await Promise.all([1, 2, 3].map((n) => create(`friend${n}@cli.org`)))
    const plan = ['account', 'friends', 'plan', 'owner@cli.org', ...api(), '--recovery-key-stdin', '--delay', '0']
    for (const threshold of ['1', '3', '1.5']) {
      const some = [...plan, '--threshold', threshold, '--friend', 'friend1@cli.org', 'friend2@cli.org']
      assert.match(await fails(64, some, owner.recoveryKey), /--threshold/)
    }
    await succeeds([...plan, '--threshold', '2', '--friend', ...friends.map(({ email }) => email)], owner.recoveryKey)
    const state = join(folder, 'state.json')
    const start = ['account', 'friends', 'start', 'owner@cli.org', ...admin(), '--state', state]
    await succeeds(start)
    assert.equal(statSync(state).mode & 0o777, 0o600)
    const recover = ['account', 'recover', 'owner@cli.org', ...api(), '--state', state, '--json']
    assert.match(await fails(66, recover), /0 of 2 shares/)
    const asFriend = (friend: Made, ...args: string[]) =>
      succeeds(['account', 'friends', ...args, ...api(), '--password-stdin'], friend.password)
    assert.match(await asFriend(friends[0]!, 'show', 'friend1@cli.org'), /owner@cli\.org/)
    await asFriend(friends[0]!, 'give', 'friend1@cli.org', '--for', 'owner@cli.org')
    assert.match(await fails(66, recover), /1 of 2 shares/)
    assert.match(await asFriend(owner, 'show', 'owner@cli.org'), /A RECOVERY OF YOUR ACCOUNT IS RUNNING/)
    // A friend whose key was rotated since has the share all the same.
    const rotated = ['account', 'rotate', 'friend3@cli.org', ...api(), '--password-stdin', '--json']
    await succeeds(rotated, friends[2]!.password)
    await asFriend(friends[2]!, 'give', 'friend3@cli.org', '--for', 'owner@cli.org')
    const back = JSON.parse(await succeeds(recover)) as Made
    assert.equal(back.password, owner.password)
    assert.equal(back.recoveryKey, owner.recoveryKey)
    // The owner objects.
    await asFriend(owner, 'cancel', 'owner@cli.org')
    await fails(66, recover)
    assert.ok(existsSync(state))
  })

  test('access lists', async () => {
    const owner = await create('boss@cli.org')
    const user = await create('user@cli.org')
    const acl = (...args: string[]) =>
      run(['acl', ...args, ...api(), '-a', 'boss@cli.org', '--password-stdin'], owner.password)
    assert.equal((await acl('create', 'staff')).out, 'ves://vesmail/staff\n')
    assert.equal((await acl('create', 'staff')).code, 66)
    const session = await repository.client().unlock(user.vault, new Secret(Buffer.from(user.password)))
    assert.equal(await session.hasAccess('ves://vesmail/staff'), false)
    assert.equal((await acl('add', 'staff', 'user@cli.org')).code, 0)
    assert.equal(await session.hasAccess('ves://vesmail/staff'), true)
    assert.match((await acl('show', 'staff')).out, /ves:\/\/vesmail\/user@cli\.org\//)
    assert.equal((await acl('remove', 'staff', 'user@cli.org')).code, 0)
    assert.equal(await session.hasAccess('ves://vesmail/staff'), false)
    assert.equal((await acl('remove', 'staff', 'user@cli.org')).code, 66)
  })

  test('the audit log shows what was done, and that it is whole', async () => {
    await create('audit@cli.org')
    const shown = await succeeds(['audit', 'show', ...admin(), '--user', 'audit@cli.org'])
    assert.match(shown, /account/)
    assert.match(await succeeds(['audit', 'verify', ...admin()]), /the chain holds/)
  })
})
