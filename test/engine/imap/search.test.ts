import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ClientCommand } from '../../../src/engine/imap/command-reader.ts'
import { parseSearch } from '../../../src/engine/imap/search.ts'
import { Stage } from './stage.ts'

function command(args: string): ClientCommand {
  const text = Buffer.from(`a UID SEARCH ${args}\r\n`, 'latin1')
  return { tag: 'a', name: 'UID SEARCH', text, argsAt: 'a UID SEARCH'.length, literals: [] }
}

const read = (args: string): [string, boolean] | null => {
  const search = parseSearch(command(args))
  return search && [search.command.text.toString('latin1').slice('a UID SEARCH '.length, -2), search.incomplete]
}

describe('SEARCH', () => {
  it('leaves the server’s keys alone', () => {
    for (const args of [
      'ALL',
      '1:*,7 UNSEEN',
      'CHARSET UTF-8 UID 5:9 NOT DELETED SINCE 1-Jan-2026',
      'RETURN (MIN MAX COUNT ALL) OR FROM bob (TO "x y" CC z)',
      'MODSEQ 7',
      'MODSEQ "/flags/\\\\draft" all 620162338',
      '$ KEYWORD $Junk',
      'HEADER References <x@y>',
    ]) {
      assert.deepEqual(read(args), [args, false], args)
    }
  })

  it('knows what the server cannot see', () => {
    for (const args of [
      'SUBJECT x',
      'NOT BODY "y"',
      'OR SEEN TEXT z',
      'LARGER 5',
      'SMALLER 5',
      'HEADER X-TUID abc',
      'FUZZY SUBJECT x',
    ]) {
      assert.deepEqual(read(args), [args, true], args)
    }
  })

  it('finds sealed messages by their own Message-ID', () => {
    assert.deepEqual(read('UNDELETED HEADER Message-ID <seed.4@lab.test> ALL'), [
      'UNDELETED OR HEADER Message-ID <seed.4@lab.test> HEADER X-VESMAIL-ID <seed.4@lab.test> ALL',
      false,
    ])
  })

  it('passes what it does not understand', () => {
    for (const args of ['', 'WHATEVER', '(ALL', 'SUBJECT', 'IN (mailboxes x) ALL']) assert.equal(read(args), null, args)
    assert.equal(read(`${'('.repeat(60)}ALL${')'.repeat(60)}`), null)
  })

  it('says in the tagged OK that an answer is incomplete', () => {
    const stage = Stage.ready()
    stage.client('b UID SEARCH SUBJECT x\r\nc SEARCH ALL\r\n')
    stage.server('* SEARCH 1\r\nb OK Search completed.\r\n* SEARCH 1 2\r\nc OK Search completed.\r\n')
    assert.equal(
      stage.takeClient(),
      '* SEARCH 1\r\nb OK Search completed. (encrypted messages: by plain header fields only)\r\n' +
        '* SEARCH 1 2\r\nc OK Search completed.\r\n',
    )
  })
})
