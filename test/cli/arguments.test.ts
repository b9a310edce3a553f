import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CommanderError } from 'commander'
import { GatewayError } from '../../src/base/errors.ts'
import { resolveCommand, splitCommandLine } from '../../src/cli/arguments.ts'
import { describeFailure, exitCodeOf, UsageError } from '../../src/cli/exit.ts'

describe('the command line', () => {
  const lines: readonly [string, string | null, string][] = [
    ['daemon -GG', 'daemon', '-GG'],
    ['-GG daemon', 'daemon', '-GG'],
    ['-C /etc/v.conf daemon -G', 'daemon', '-C /etc/v.conf -G'],
    ['-C=/etc/v.conf daemon', 'daemon', '-C=/etc/v.conf'],
    ['--conf=/etc/v.conf daemon', 'daemon', '--conf=/etc/v.conf'],
    ['--conf daemon enc', 'enc', '--conf daemon'],
    ['-a a@x.org -u key enc', 'enc', '-a a@x.org -u key'],
    ['-aa@x.org enc', 'enc', '-aa@x.org'],
    ['-xa a@x.org enc -u k', 'enc', '-xa a@x.org -u k'],
    ['--VESkey k decrypt', 'decrypt', '--VESkey k'],
    ['-V', null, '-V'],
    ['', null, ''],
    ['--', null, '--'],
    ['profile set a@x.org', 'profile', 'set a@x.org'],
  ]
  for (const [line, word, args] of lines) {
    test(line === '' ? '(empty)' : line, () => {
      const split = splitCommandLine(line === '' ? [] : line.split(' '))
      assert.equal(split.word, word)
      assert.equal(split.args.join(' '), args)
    })
  }

  test('a command may be cut to what is unique, first of all among those of the C program', () => {
    const names = [
      'daemon',
      'imap',
      'smtp',
      'now',
      'encrypt',
      'decrypt',
      'demo',
      'account',
      'acl',
      'audit',
      'repository',
    ]
    for (const [word, name] of [
      ['daemon', 'daemon'],
      ['da', 'daemon'],
      ['s', 'smtp'],
      ['enc', 'encrypt'],
      ['de', 'decrypt'],
      ['dem', 'demo'],
      ['r', 'repository'],
    ] as const) {
      assert.equal(resolveCommand(word, names), name)
    }
    assert.throws(() => resolveCommand('d', names), /daemon, decrypt, demo/)
    assert.throws(() => resolveCommand('a', names), /account, acl, audit/)
    assert.throws(() => resolveCommand('x', names), UsageError)
  })

  test('exit codes', () => {
    const io = Object.assign(new Error('no such file'), { syscall: 'open', code: 'ENOENT' })
    for (const [thrown, code] of [
      [new UsageError('x'), 64],
      [new CommanderError(1, 'commander.unknownOption', 'x'), 64],
      [new CommanderError(0, 'commander.helpDisplayed', 'x'), 0],
      [io, 65],
      [new GatewayError('IO'), 65],
      [new GatewayError('MIME_HEADER_TOO_LARGE'), 65],
      [new GatewayError('BAD_CREDENTIALS'), 66],
      [new GatewayError('VES_CONNECTION'), 66],
      [new GatewayError('ITEM_UNAVAILABLE'), 66],
      [new GatewayError('SEAL_BROKEN'), 66],
      [new GatewayError('CONFIG_INVALID'), 67],
      [new GatewayError('INTERNAL'), 80],
      [new TypeError('bug'), 80],
    ] as const) {
      assert.equal(exitCodeOf(thrown), code, String(thrown))
    }
  })

  test('a failure is one line, with what is known beyond the stable text', () => {
    const text = describeFailure(new GatewayError('VES_DENIED', { text: 'locked', status: 403, message: 'x' }))
    assert.equal(text, 'XVES-3.6 libVES: Denied: locked (status: 403, message: x)')
  })
})
