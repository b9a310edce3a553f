import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assertDaemons, parseConfigFile, printConfigError } from '../../../src/base/config/config-file.ts'
import { daemonConfig, hostConfig, programConfig } from '../../../src/base/config/merge.ts'
import { GatewayError } from '../../../src/base/errors.ts'

const FILE = 'vesmail.conf'

function problem(text: string): string {
  try {
    parseConfigFile(text, FILE)
  } catch (error) {
    assert.ok(error instanceof GatewayError, String(error))
    assert.equal(error.code, 'CONFIG_INVALID')
    return printConfigError(error.detail)
  }
  return 'no error'
}

const SAMPLE = `# comment
; another
/* and a C one
{
  "*": {"subject": "sealed", "maxbuf": 65536, "audit": "boss@example.com", "cert": "/c.pem"},
  "smtp": {"maxbuf": null, "bcc": ["a@x", "b@x"], "limits": {"drainSeconds": 5}},
# in the middle
  "ves": {"api": "http://127.0.0.1:1/v1/"},
  "workers": 3,
  "daemons": [
    {"server": "ves-smtp", "host": "", "port": "submission", "audit": null},
    {"server": "imap", "port": "1993", "tls": {"persist": true}}
  ]
}
`

test('blocks are read and merged, the later one wins, null unsets', () => {
  const file = parseConfigFile(SAMPLE, FILE)
  assert.deepEqual(file.warnings, [])
  const [smtp, imap] = file.daemons
  assert.equal(smtp!.service, 'smtp')
  assert.equal(smtp!.host, null)
  assert.equal(smtp!.port, 587)
  assert.equal(imap!.port, 1993)
  const program = programConfig(file)
  assert.equal(program['ves.api'], 'http://127.0.0.1:1/v1/')
  assert.equal(program['workers.count'], 3)
  assert.equal(program['tls.cert'], '/c.pem')
  assert.deepEqual(program.audit, ['boss@example.com'])
  const forSmtp = daemonConfig(file, smtp!)
  assert.equal(forSmtp.maxbuf, 1024 * 1024)
  assert.equal(forSmtp.audit, null)
  assert.deepEqual(forSmtp.bcc, ['a@x', 'b@x'])
  assert.equal(forSmtp['limits.drainSeconds'], 5)
  const forImap = daemonConfig(file, imap!)
  assert.equal(forImap.maxbuf, 65536)
  assert.equal(forImap.bcc, null)
  assert.equal(forImap['tls.persist'], true)
  assert.equal(forImap['limits.drainSeconds'], 300)
  assert.throws(() => {
    ;(forImap as { maxbuf: number }).maxbuf = 1
  }, TypeError)
})

test('a host file overrides the daemon, but not what is the program’s', () => {
  const main = parseConfigFile(
    '{"daemons":[{"server":"imap","port":143,"subject":"daemon"}],"*":{"audit":"a@x"}}',
    FILE,
  )
  const host = parseConfigFile(
    '{"*":{"subject":"host","audit":null,"sni":{"prefix":"/x"},"caBundle":"/y","abuse-sense":9,"now":{"manifest":"{}","url":"u"}},"imap":{"subject":"host imap"},"ves":{"api":"http://evil/"},"daemons":[]}',
    'host.conf',
    'host',
  )
  const config = hostConfig(main, main.daemons[0]!, host)
  assert.equal(config.subject, 'host imap')
  assert.equal(config.audit, null)
  assert.equal(config['sni.prefix'], null)
  assert.equal(config.caBundle, null)
  assert.equal(config['abuse-sense'], 0)
  assert.equal(config['now.manifest'], null)
  assert.equal(config['now.url'], 'u')
  assert.equal(config['ves.api'], 'https://api.ves.host/v1/')
  assert.equal(host.warnings.length, 6)
})

test('errors name file, line, column, key and what was expected', () => {
  assert.equal(
    problem('{\n  "*": {"maxbuf": "big"}\n}'),
    'vesmail.conf:2:19: *.maxbuf: expected a whole number of octets, 4096 to 1073741824',
  )
  assert.equal(problem('{\n "*": {"subject" "x"}}'), 'vesmail.conf:2:18: *.subject: expected ":", found "\\""')
  assert.equal(problem('{"a": 1 "b": 2}'), 'vesmail.conf:1:9: expected "," or "}", found "\\""')
  assert.equal(problem(''), 'vesmail.conf:1:1: expected a value, found the end of the file')
  assert.equal(problem('[]'), 'vesmail.conf:1:1: expected an object')
  assert.equal(
    problem('{"daemons": [{"server": "imap", "port": 0}]}'),
    'vesmail.conf:1:41: daemons[0].port: expected a port: a number, digits or a service name',
  )
  assert.equal(
    problem('{"daemons": [{"server": "pop3", "port": 1}]}'),
    'vesmail.conf:1:25: daemons[0].server: expected one of imap, smtp, now',
  )
  assert.equal(
    problem('{"*": {"tls": {"level": "HIGH"}}}'),
    'vesmail.conf:1:25: *.tls.level: expected one of none, optional, unsecure, medium, high',
  )
  assert.equal(problem('{"*": {"tls": 1}}'), 'vesmail.conf:1:15: *.tls: expected an object')
  assert.equal(
    problem('{"*": {"subject": "a\\nBcc: x"}}'),
    'vesmail.conf:1:19: *.subject: expected a string on one line',
  )
  assert.equal(problem('{} {}'), 'vesmail.conf:1:4: expected the end of the file, found "{"')
  assert.match(problem('['.repeat(100)), /at most 32 levels/)
  assert.match(problem(`{"x": 1${' '.repeat(2_000_000)}}`), /larger than/)
})

test('unknown and repeated keys are warnings, with the nearest known name', () => {
  const { warnings, all } = parseConfigFile(
    '{"*": {"subjct": "x", "maxbuf": 4096,\n "maxbuf": 8192, "tls": {"lvl": 1}}, "imapp": {}, "zzzzzzzzzzzz": 1}',
    FILE,
  )
  assert.deepEqual(warnings, [
    'vesmail.conf:2:2: *.maxbuf is there twice; the first counts',
    'vesmail.conf:1:8: *.subjct is unknown; is "subject" meant?',
    'vesmail.conf:2:26: *.tls.lvl is unknown; is "tls.level" meant?',
    'vesmail.conf:2:38: imapp is unknown; is "imap" meant?',
    'vesmail.conf:2:51: zzzzzzzzzzzz is unknown',
  ])
  assert.equal(all.get('maxbuf')?.value, 4096)
})

test('old names of the C program, and short forms', () => {
  const { all, warnings } = parseConfigFile(
    '{"*": {"now-url": "u", "now": {"url": "v"}, "now-dir": "d", "proxy-protocol": "10.0.0.0/8", "admin": "9090"}}',
    FILE,
  )
  assert.deepEqual(warnings, [])
  assert.equal(all.get('now.url')?.value, 'v')
  assert.equal(all.get('now.dir')?.value, 'd')
  assert.deepEqual(all.get('proxy-protocol.from')?.value, ['10.0.0.0/8'])
  assert.deepEqual(all.get('admin.listen')?.value, { host: '127.0.0.1', port: 9090 })
})

test('options of the wrong place are ignored with a warning', () => {
  const file = parseConfigFile(
    '{"imap": {"workers": 2, "tls": {"persist": true}}, "*": {"tls": {"persist": true}}}',
    FILE,
  )
  assert.equal(file.warnings.length, 3)
  assert.equal(file.services.imap.size, 0)
})

test('null for a whole block unsets all of it', () => {
  const file = parseConfigFile(
    '{"*": {"tls": {"cert": "c", "level": "none"}}, "daemons": [{"server":"imap","port":1,"tls":null}]}',
    FILE,
  )
  const config = daemonConfig(file, file.daemons[0]!)
  assert.equal(config['tls.cert'], null)
  assert.equal(config['tls.level'], 'high')
})

test('any text gives a configuration or a CONFIG_INVALID', () => {
  const json = fc.json().map((text) => `{"*": ${text}, "daemons": ${text}}`)
  const names = fc.record({
    '*': fc.dictionary(fc.constantFrom('tls', 'now', 'limits', 'audit', '__proto__', 'constructor'), fc.jsonValue()),
  })
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        json,
        names.map((value) => JSON.stringify(value)),
      ),
      (text) => {
        try {
          const file = parseConfigFile(text, FILE)
          assert.ok(Object.isFrozen(programConfig(file)))
        } catch (error) {
          assert.ok(error instanceof GatewayError, String(error))
          assert.equal(error.code, 'CONFIG_INVALID')
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('what JSON.parse reads, the tree reads alike', async () => {
  const { parseJsonTree, plainValue } = await import('../../../src/base/config/json-tree.ts')
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 2), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      assert.deepEqual(plainValue(parseJsonTree(text, FILE)), JSON.parse(text))
    }),
  )
})

test('two listeners of one address are a mistake: which of them a client would get is left to nobody', () => {
  const reason = (text: string): string => {
    try {
      parseConfigFile(text, 'vesmail.conf')
    } catch (error) {
      assert.ok(error instanceof GatewayError)
      return printConfigError(error.detail)
    }
    return ''
  }
  const one = '{"server": "imap", "port": 143}'
  assert.equal(
    reason(`{"daemons": [${one},\n{"server": "smtp", "host": "", "port": "imap"}]}`),
    'vesmail.conf:2:1: daemons[1].port: expected an address of its own: daemons[0] has this one',
  )
  assert.equal(reason(`{"daemons": [${one}, {"server": "imap", "host": "127.0.0.2", "port": 143}]}`), '')
  assert.equal(
    reason(`{"*": {"admin": "127.0.0.1:143"},\n"daemons": [{"server": "imap", "host": "127.0.0.1", "port": 143}]}`),
    'vesmail.conf:1:17: admin.listen: expected an address of its own: daemons[0] has this one',
  )
})

test('a program that listens needs daemons; an error without a line is of the whole file', () => {
  assert.throws(() => assertDaemons(parseConfigFile('{}', 'vesmail.conf')), {
    detail: {
      reason: 'vesmail.conf: daemons: none is configured; add e.g. {"server": "imap", "port": "imaps"}',
    },
  })
  assert.equal(printConfigError({ file: 'vesmail.conf', line: 0, column: 0, reason: 'ENOENT' }), 'vesmail.conf: ENOENT')
})
