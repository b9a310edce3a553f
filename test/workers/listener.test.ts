/** Listeners, hosts and certificates over real handshakes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectPlain, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { parseConfigFile } from '../../src/base/config/config-file.ts'
import { GatewayError } from '../../src/base/errors.ts'
import { type LogFields, silentLog } from '../../src/base/log.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { acceptTls, upstreamTls } from '../../src/net/tls.ts'
import { CertificateStore } from '../../src/workers/certificate-store.ts'
import { Listener, type Tenant } from '../../src/workers/listener.ts'

interface Stage {
  readonly directory: string
  readonly listener: Listener
  readonly clock: { ms: number }
  /** A handshake; the tenant it chose, and the certificate's name. */
  handshake(
    servername: string | null,
    options?: { readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3'; readonly session?: Buffer },
  ): Promise<{ tenant: Tenant; name: string; reused: boolean; session: Buffer | null }>
}

/** @param sni null: no host files */
async function stage(t: TestContext, sni: object | null, daemon: object = {}): Promise<Stage> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-listener-'))
  const clock = { ms: 0 }
  const main = putCertificate(directory, 'main.example')
  const text = JSON.stringify({
    '*': {
      tls: main,
      sni: sni === null ? null : { prefix: `${directory}/`, suffix: '.conf', ...sni },
      subject: 'main',
      audit: 'main@x',
    },
    daemons: [{ server: 'imap', port: 993, ...daemon }],
  })
  const file = parseConfigFile(text, 'vesmail.conf')
  const certificates = new CertificateStore(10, Buffer.alloc(48, 7), silentLog, () => clock.ms)
  const listener = new Listener(file.daemons[0]!, {
    file,
    certificates,
    upstreamTls,
    ownCertificate: () => main,
    log: silentLog,
  })
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  t.after(() => {
    server.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return {
    directory,
    listener,
    clock,
    handshake: async (servername, options = {}) => {
      const accepted = once(server, 'connection') as Promise<[Socket]>
      const client = connect({
        socket: connectPlain(port, '127.0.0.1'),
        ...(servername === null ? {} : { servername }),
        ...options,
        rejectUnauthorized: false,
      })
      client.on('error', () => {})
      let session: Buffer | null = null
      const ticket = new Promise<void>((resolve) => {
        client.once('session', (one) => {
          session = one
          resolve()
        })
        // A resumed session of TLS 1.2 brings no new one.
        client.once('secureConnect', () => client.isSessionReused() && resolve())
        client.once('close', () => resolve())
        // None comes where hosts may be named.
        if (sni !== null) client.once('data', () => resolve())
      })
      let tenant = listener.main
      const [plain] = await accepted
      const tls = await listener.tls((chosen) => {
        tenant = chosen
      })
      try {
        const secured = await acceptTls(plain, tls!)
        secured.write('x')
        await ticket
        const name = String(client.getPeerCertificate().subject?.CN)
        secured.on('error', () => {}).destroy()
        return { tenant, name, reused: client.isSessionReused(), session }
      } finally {
        client.destroy()
        plain.destroy()
      }
    },
  }
}

function session(from: { readonly session: Buffer | null }, limit: object): object {
  return { ...limit, ...(from.session === null ? {} : { session: from.session }) }
}

function putCertificate(directory: string, name: string): { cert: string; pkey: string } {
  const { cert, pkey } = selfSigned([name], Date.now())
  const files = { cert: join(directory, `${name}.crt`), pkey: join(directory, `${name}.key`) }
  writeFileSync(files.cert, cert)
  writeFileSync(files.pkey, pkey)
  return files
}

const put = (directory: string, host: string, config: object): void =>
  writeFileSync(join(directory, `${host}.conf`), JSON.stringify(config))

test('each host has its own settings and certificate, and sees nobody else’s', async (t) => {
  const { directory, handshake } = await stage(t, {})
  put(directory, 'a.example', {
    '*': { tls: putCertificate(directory, 'a.example'), subject: 'a', audit: 'a@x', bcc: 'spy@a' },
  })
  put(directory, 'b.example', { imap: { subject: 'b' }, smtp: { subject: 'other service' } })
  const a = await handshake('A.example')
  assert.deepEqual(
    [a.name, a.tenant.host, a.tenant.settings.subject, a.tenant.settings.audit],
    ['a.example', 'a.example', 'a', ['a@x']],
  )
  const b = await handshake('b.example')
  assert.deepEqual(
    [b.name, b.tenant.settings.subject, b.tenant.settings.audit, b.tenant.settings.bcc],
    ['main.example', 'b', ['main@x'], []],
  )
  for (const servername of [null, 'nobody.example']) {
    const main = await handshake(servername)
    assert.deepEqual([main.name, main.tenant.host, main.tenant.settings.subject], ['main.example', null, 'main'])
  }
})

test('with `require`, a host without a file is refused in the handshake; no name at all is the main configuration', async (t) => {
  const { directory, handshake } = await stage(t, { require: true })
  put(directory, 'a.example', { '*': { subject: 'a' } })
  assert.equal((await handshake('a.example')).tenant.settings.subject, 'a')
  assert.equal((await handshake(null)).tenant.host, null)
  await assert.rejects(handshake('nobody.example'), { code: 'IO' })
  await assert.rejects(handshake('main.example'), { code: 'IO' })
})

test('a host whose certificate and key do not go together is refused, its neighbours are not', async (t) => {
  const { directory, handshake } = await stage(t, {})
  put(directory, 'a.example', { '*': { tls: { cert: putCertificate(directory, 'a.example').cert } } })
  put(directory, 'b.example', { '*': { subject: 'b' } })
  await assert.rejects(handshake('a.example'), { code: 'IO' })
  assert.equal((await handshake('b.example')).tenant.settings.subject, 'b')
})

test('a certificate that changes is taken over; one that is broken while it is renewed leaves the old one', async (t) => {
  const { directory, handshake, clock } = await stage(t, {})
  assert.equal((await handshake(null)).name, 'main.example')
  writeFileSync(join(directory, 'main.example.crt'), 'half a fi')
  clock.ms += 1000
  assert.equal((await handshake(null)).name, 'main.example')
  const { cert, pkey } = selfSigned(['renewed.example'], Date.now())
  writeFileSync(join(directory, 'main.example.crt'), cert)
  writeFileSync(join(directory, 'main.example.key'), pkey)
  clock.ms += 1000
  assert.equal((await handshake(null)).name, 'renewed.example')
})

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const limit = version === 'TLSv1.2' ? { maxVersion: version } : {}

  test(`${version}: tickets are good at each worker`, async (t) => {
    const [one, two] = [await stage(t, null), await stage(t, null)]
    const first = await one.handshake(null, limit)
    const again = await two.handshake(null, { ...limit, session: first.session! })
    assert.deepEqual([first.reused, again.reused, again.tenant.host], [false, true, null])
  })

  test(`${version}: a session of a host is never resumed as the main configuration’s`, async (t) => {
    const { directory, handshake } = await stage(t, {})
    put(directory, 'a.example', { '*': { subject: 'a' } })
    const first = await handshake('a.example', limit)
    assert.equal(first.tenant.host, 'a.example')
    const again = await handshake('a.example', session(first, limit))
    assert.deepEqual([again.reused, again.tenant.host], [false, 'a.example'])
    const unnamed = await handshake(null, limit)
    const named = await handshake('a.example', session(unnamed, limit))
    assert.equal(named.tenant.host, 'a.example')
  })
}

test('TLS 1.3 alone by choice', async (t) => {
  const { handshake } = await stage(t, {}, { tls: { min: '1.3' } })
  assert.equal((await handshake(null)).name, 'main.example')
  await assert.rejects(handshake(null, { maxVersion: 'TLSv1.2' }), { code: 'IO' })
})

test('a private key that everybody can read is told of, once for each time that it changes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-listener-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const files = putCertificate(directory, 'one.example')
  const told: string[] = []
  const log = {
    ...silentLog,
    write: (_: string, __: string, fields?: LogFields) => void told.push(String(fields?.reason)),
  }
  const store = new CertificateStore(10, Buffer.alloc(48, 7), log, () => performance.now() * 1e6)
  const load = () => store.context({ ...files, minVersion: 'TLSv1.2', isResumable: true })
  chmodSync(files.pkey, 0o640)
  await load()
  assert.deepEqual(told, [])
  const open = putCertificate(directory, 'two.example')
  chmodSync(open.pkey, 0o644)
  for (let i = 0; i < 2; i++) await store.context({ ...open, minVersion: 'TLSv1.2', isResumable: true })
  assert.deepEqual(told, ['can be read by everybody: chmod 640, and change the key'])
})

test('level none: no TLS at all', async (t) => {
  const { listener } = await stage(t, {}, { tls: { level: 'none', persist: true } })
  assert.equal(await listener.tls(() => {}), null)
  assert.equal(listener.isImplicit, false)
})

test('what turns out only when it is used is said with its line, and what to do', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-listener-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const [one, other] = [putCertificate(directory, 'one.example'), putCertificate(directory, 'other.example')]
  const empty = join(directory, 'empty.pem')
  writeFileSync(empty, '-----BEGIN NOTHING-----\n')
  const reason = async (all: object, daemon: object = {}): Promise<string> => {
    const text = JSON.stringify(
      { '*': { tls: one, ...all }, daemons: [{ server: 'imap', port: 993, ...daemon }] },
      null,
      1,
    )
    const file = parseConfigFile(text, 'vesmail.conf')
    const certificates = new CertificateStore(10, Buffer.alloc(48, 7), silentLog, () => 0)
    try {
      const parts = { file, certificates, upstreamTls, ownCertificate: () => one, log: silentLog }
      await new Listener(file.daemons[0]!, parts).check()
      return ''
    } catch (error) {
      assert.ok(error instanceof GatewayError)
      assert.equal(error.code, 'CONFIG_INVALID')
      const said = String(error.detail.reason)
      const [, line = '', key = ''] = /^vesmail\.conf:(\d+):\d+: ([^:]+): /.exec(said) ?? []
      assert.ok(text.split('\n')[Number(line) - 1]?.includes(key.split(/[.\]]/).at(-1)!), said)
      return said
    }
  }
  assert.equal(await reason({}), '')
  assert.match(await reason({ caBundle: '/none' }), / caBundle: \/none cannot be read \(ENOENT\): correct the path/)
  assert.match(await reason({ caBundle: empty }), / caBundle: .*empty\.pem holds no certificate in PEM form/)
  assert.match(
    await reason({}, { 'proxy-protocol': { from: '300.0.0.1/8' } }),
    /daemons\[0\].*from: 300.* is no network/,
  )
  assert.match(await reason({ limits: { providerNetworks: ['x'] } }), / limits\.providerNetworks: x is no network/)
  assert.match(await reason({ tls: { ...one, cert: '/none' } }), / tls\.cert: \/none cannot be read \(ENOENT\)/)
  assert.match(await reason({ tls: { ...one, pkey: empty } }), / tls\.pkey: .*empty\.pem holds no private key/)
  assert.match(
    await reason({}, { tls: { pkey: other.pkey } }),
    /daemons\[0\]\.tls\.pkey: .* is not the key of .*: take the two that were made together$/,
  )
})
