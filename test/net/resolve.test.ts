/** Names of providers: what a silent name server costs, and what is left to `getaddrinfo`. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { after, test } from 'node:test'
import { type Address, type Names, resolveName } from '../../src/net/resolve.ts'

const failed = (code: string) => async (): Promise<never> => {
  throw Object.assign(new Error(code), { code })
}

/** @returns what `getaddrinfo` was asked for, too */
function names(parts: Partial<Names>): Names & { readonly looked: string[] } {
  const looked: string[] = []
  return {
    resolve4: failed('ENOTFOUND'),
    resolve6: failed('ENODATA'),
    lookup: async (host: string): Promise<Address[]> => {
      looked.push(host)
      return [{ address: '10.0.0.9', family: 4 }]
    },
    configuration: () => 'search old.test\n; domain no.test\nnameserver 192.0.2.53\nsearch svc.test Inner.test .\n',
    hosts: () => '127.0.0.1 localhost\n# 10.1.1.1 not.here\n10.0.0.9\tMail.Inner.test  mx.inner.test # ours\n',
    ...parts,
    looked,
  }
}

test('addresses of both kinds, without getaddrinfo', async () => {
  const both = names({ resolve4: async () => ['192.0.2.1', '192.0.2.2'], resolve6: async () => ['2001:db8::1'] })
  assert.deepEqual(
    (await resolveName('mx.example.org', both)).map(({ address, family }) => `${family} ${address}`),
    ['4 192.0.2.1', '4 192.0.2.2', '6 2001:db8::1'],
  )
  const one = names({ resolve4: failed('ETIMEOUT'), resolve6: async () => ['2001:db8::1'] })
  assert.deepEqual(await resolveName('mx.example.org', one), [{ address: '2001:db8::1', family: 6 }])
  assert.deepEqual([both.looked, one.looked], [[], []])
})

test('the hosts file, numbers and names without a dot are for getaddrinfo, and no server is asked', async () => {
  const some = names({ resolve4: () => assert.fail('asked'), resolve6: () => assert.fail('asked') })
  for (const host of ['localhost', 'postfix', 'mail.inner.test', 'MX.inner.test', 'mx.inner.test.', '127.1', '0.0x1']) {
    assert.deepEqual(await resolveName(host, some), [{ address: '10.0.0.9', family: 4 }], host)
  }
  assert.equal(some.looked.length, 7)
  const asked = names({ resolve4: async () => ['192.0.2.1'] })
  await resolveName('not.here', asked)
  assert.deepEqual(asked.looked, [])
})

test('where a server has not answered, no search domain is asked: the name may be there', async () => {
  const absentAndSilent = { resolve4: failed('ENODATA'), resolve6: failed('ETIMEOUT') }
  const asked: string[] = []
  const some = names({
    resolve4: async (host) => {
      asked.push(host)
      return absentAndSilent.resolve4()
    },
    resolve6: absentAndSilent.resolve6,
  })
  await assert.rejects(resolveName('mx.example.org', some), { code: 'ETIMEOUT' })
  assert.deepEqual(asked, ['mx.example.org'])
  // Nor the next domain, where the first one's server is silent.
  const silentDomain = names({
    resolve4: async (host) => {
      asked.push(host)
      return host.endsWith('.inner.test')
        ? ['10.0.0.7']
        : failed(host.endsWith('.svc.test') ? 'ESERVFAIL' : 'ENOTFOUND')()
    },
  })
  asked.length = 0
  await assert.rejects(resolveName('mx.example.org', silentDomain), { code: 'ESERVFAIL' })
  assert.deepEqual(asked, ['mx.example.org', 'mx.example.org.svc.test'])
})

test('what no server knows may be of a search domain', async () => {
  const asked: string[] = []
  const some = names({
    resolve4: async (host) => {
      asked.push(host)
      return host === 'postfix.mail.inner.test' ? ['10.0.0.7'] : failed('ENOTFOUND')()
    },
  })
  assert.deepEqual(await resolveName('postfix.mail', some), [{ address: '10.0.0.7', family: 4 }])
  assert.deepEqual(asked, ['postfix.mail', 'postfix.mail.svc.test', 'postfix.mail.inner.test'])
  for (const host of ['nowhere.test', 'postfix.mail.']) {
    await assert.rejects(resolveName(host, some), { code: 'ENOTFOUND' }, host)
  }
  assert.deepEqual(some.looked, [])
})

test('a name whose servers are silent is not asked for again, nor left to getaddrinfo', async () => {
  for (const code of ['ETIMEOUT', 'ESERVFAIL']) {
    let asked = 0
    const silent = names({
      resolve4: () => {
        asked++
        return failed(code)()
      },
    })
    await assert.rejects(resolveName('silent.example.org', silent), { code })
    assert.equal(asked, 1)
    assert.deepEqual(silent.looked, [])
  }
})

test('many names of a silent server hold nobody up', async () => {
  const server = createSocket('udp4')
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', () => resolve()))
  after(() => server.close())
  const resolver = new Resolver({ timeout: 60_000, tries: 1 })
  resolver.setServers([`127.0.0.1:${server.address().port}`])
  const silent: Names = {
    resolve4: (host) => resolver.resolve4(host),
    resolve6: (host) => resolver.resolve6(host),
    lookup: () => assert.fail('a thread is held'),
    hosts: () => '',
    configuration: () => '',
  }
  const slow = Array.from({ length: 50 }, (_, n) => resolveName(`n${n}.example.org`, silent))
  const ended = Promise.allSettled(slow)
  assert((await resolveName('localhost')).length > 0)
  resolver.cancel()
  for (const one of await ended) assert.equal(one.status, 'rejected')
})
