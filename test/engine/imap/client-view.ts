/** What a client makes of all that it got: is it what the server said, had its messages been stored in plain? */
import assert from 'node:assert/strict'
import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { parseFetchItems } from '../../../src/engine/imap/fetch-items.ts'
import { fetchAnswer, type Message } from './model-server.ts'

export interface Sent {
  readonly tag: string
  readonly items: string
  /** A UID or sequence number, and all behind it where `open`. */
  readonly asked: { readonly uid: boolean; readonly first: number; readonly open: boolean }
}

export interface Conversation {
  /** What the server said unasked, in order. */
  readonly told: readonly string[]
  readonly sent: readonly Sent[]
  /** The messages as they are in plain, by UID. */
  readonly plain: ReadonlyMap<number, Message>
  readonly uids: readonly number[]
  /** Answers must come in the server's order. */
  readonly ordered: boolean
  /** What is left at the server. */
  readonly now: readonly Message[]
}

/** @param out all that the client got */
export function checkView(out: string, { told, sent, plain, uids, ordered, now }: Conversation): void {
  assert.ok(!out.includes('X-VESmail-ID'), 'ciphertext reached the client')
  const numbers = [...uids]
  const pending = [...told]
  const commands = [...sent]
  const flagsOf = new Map<number, string>()
  let answered = new Set<number>()
  let last = 0
  let at = 0
  while (at < out.length) {
    const line = out.slice(at, out.indexOf('\r\n', at) + 2)
    if (line === pending[0]) {
      pending.shift()
      const expunged = /^\* (\d+) EXPUNGE/.exec(line)
      if (expunged !== null) numbers.splice(Number(expunged[1]) - 1, 1)
      const vanished = /^\* VANISHED (\d+)/.exec(line)
      if (vanished !== null) numbers.splice(numbers.indexOf(Number(vanished[1])), 1)
      const flags = /^\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)/.exec(line)
      if (flags !== null) flagsOf.set(Number(flags[1]), flags[2]!)
      at += line.length
      continue
    }
    const command = commands[0]
    assert.ok(command !== undefined, `unexpected: ${line}`)
    if (line.startsWith(`${command.tag} `)) {
      assert.equal(line, `${command.tag} OK ${line.includes('UID') ? 'UID FETCH' : 'FETCH'} done\r\n`)
      const { uid: byUid, first, open } = command.asked
      numbers.forEach((uid, i) => {
        const number = byUid ? uid : i + 1
        const wanted = open ? number >= first : number === first
        assert.equal(answered.has(uid), wanted, `UID ${uid} of ${command.tag}`)
      })
      commands.shift()
      answered = new Set()
      last = 0
      at += line.length
      continue
    }
    const number = Number(/^\* (\d+) FETCH /.exec(line)?.[1])
    const uid = numbers[number - 1]
    assert.ok(uid !== undefined, `no message ${number}: ${line}`)
    assert.ok(!answered.has(uid), `answered twice: ${line}`)
    assert.ok(!ordered || uid > last, `not in order: ${line}`)
    last = uid
    answered.add(uid)
    const items = parseFetchItems(new Cursor(Buffer.from(command.items)))
    const uidFetch = line.startsWith(`* ${number} FETCH (UID`)
    const flags = / FLAGS \(([^)]*)\)|\(FLAGS \(([^)]*)\)/.exec(line)
    const told = flags?.[1] ?? flags?.[2]
    if (told !== undefined) flagsOf.set(uid, told)
    const expected = fetchAnswer(number, { ...plain.get(uid)!, flags: told ?? '' }, items, uidFetch)
    assert.equal(out.slice(at, at + expected.length), expected)
    at += expected.length
  }
  assert.deepEqual(pending, [], 'unasked responses that did not arrive')
  assert.deepEqual(commands, [], 'commands without an answer')
  for (const { uid, flags } of now) assert.equal(flagsOf.get(uid) ?? flags, flags, `flags of ${uid}`)
}
