/**
 * A client, a provider and a repository that do anything at any time, and what must hold all the same: no plaintext and
 * no smuggled command goes up, nothing is acknowledged that the provider did not take, and a session says nothing after
 * its end. One run is one seed.
 */
import assert from 'node:assert/strict'
import { GatewayError } from '../../../src/base/errors.ts'
import type { Player } from '../script.ts'
import { HOLD } from '../script.ts'
import type { Dice } from '../seal/generate.ts'
import { ALL, account, player } from './world.ts'

const SECRET = 'plaintextword'
const LINES = [
  SECRET,
  '.',
  '..',
  `.${SECRET}`,
  'MAIL FROM:<smuggled@example.org>',
  'RCPT TO:<smuggled@example.org>',
  '\n.\n',
  'x\n.\r\nDATA',
  '\r.\r',
  '',
  ' ',
  '\0.',
]
const COMMANDS = [
  'MAIL FROM:<alice@example.org>',
  'MAIL FROM:<alice@example.org> SIZE=100 BODY=8BITMIME',
  'RCPT TO:<bob@example.org>',
  'RCPT TO:<carol@example.org>',
  'RCPT TO:<dave@example.org>',
  'RCPT TO:<bob@example.org> NOTIFY=NEVER',
  'DATA',
  'RSET',
  'NOOP',
  'EHLO again.example',
  'XVES MODE HIGH',
  'FOO',
  'VRFY bob',
  'AUTH PLAIN x',
]

/** What a provider says; keeps count of what it took. */
class ChaosProvider {
  accepted = 0
  commands = ''
  #inData = false
  #text = ''
  readonly #dice: Dice

  constructor(dice: Dice) {
    this.#dice = dice
  }

  /** @returns replies to what was said, null: it goes */
  hear(octets: string): string | null {
    let replies = ''
    this.#text += octets
    for (;;) {
      if (this.#inData) {
        const text = `\r\n${this.#text}`
        const end = text.indexOf('\r\n.\r\n')
        if (end < 0) return this.#dice.oneIn(60) ? '552 5.3.4 no more\r\n' : this.#dice.oneIn(60) ? null : replies
        this.#text = text.slice(end + 5)
        this.#inData = false
        if (this.#dice.oneIn(20)) return null
        const yes = !this.#dice.oneIn(4)
        if (yes) this.accepted++
        replies += yes ? '250 2.0.0 taken\r\n' : '554 5.7.1 no\r\n'
        continue
      }
      const at = this.#text.indexOf('\r\n')
      if (at < 0) return replies
      const line = this.#text.slice(0, at)
      this.#text = this.#text.slice(at + 2)
      this.commands += `${line}\n`
      const fate = this.#dice.below(100)
      if (line.startsWith('EHLO'))
        replies += `250-p\r\n${ALL.map((word) => `250-${word}\r\n`).join('')}250 AUTH PLAIN\r\n`
      else if (line.startsWith('AUTH')) replies += '235 2.7.0 ok\r\n'
      else if (fate === 0) return null
      else if (fate === 1) replies += '421 4.3.2 bye\r\n'
      else if (fate === 2) replies += 'garbage\r\n'
      // As if a message were wanted, whatever was asked.
      else if (fate === 3 && line !== 'DATA') replies += '354 go\r\n'
      else if (fate < 12) replies += '450 4.2.0 later\r\n'
      else if (line === 'DATA') {
        this.#inData = true
        replies += '354 go\r\n'
      } else replies += '250 2.1.0 ok\r\n'
    }
  }
}

/** @returns messages that the client was told were taken */
export function chaos(dice: Dice): number {
  const provider = new ChaosProvider(dice)
  const trouble = (): GatewayError => new GatewayError(dice.oneIn(2) ? 'VES_CONNECTION' : 'RECIPIENT_WITHOUT_VAULT')
  const key = {
    key: { algo: 'AES256GCM1K' as const, keyString: Buffer.alloc(44) },
    uri: 'ves://vesmail/m',
    xchg: null,
    verify: null,
  }
  const vault = { uri: 'ves://vesmail/x/' }
  const one: Player = player({
    chunk: dice.oneIn(3) ? 1 + dice.below(7) : null,
    answers: {
      login: () => account({ mode: 'REJECT' }),
      recipient: () => (dice.oneIn(6) ? trouble() : dice.oneIn(3) ? HOLD : vault),
      'seal-key': () => (dice.oneIn(8) ? trouble() : dice.oneIn(3) ? HOLD : key),
    },
  })
  let heardByClient = ''
  /** Runs both ends until neither has anything to say. */
  const settle = (): void => {
    while (one.closed === null && one.output.upstream !== '') {
      const octets = one.output.upstream
      one.output.upstream = ''
      assert(!octets.includes(SECRET), 'plaintext')
      const replies = provider.hear(octets)
      if (replies === null) one.step({ on: 'closed', side: 'upstream', error: null })
      else if (replies !== '' && one.hungUp === 'no') one.feed('upstream', Buffer.from(replies, 'latin1'))
    }
    heardByClient += one.output.client
    one.output.client = ''
  }
  const say = (text: string): void => {
    one.feed('client', Buffer.from(text, 'latin1'))
    settle()
  }
  settle()
  say('EHLO c\r\n')
  say('AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHZlc2tleQ==\r\n')
  one.feed('upstream', Buffer.from('220 p\r\n'))
  settle()
  for (let step = 0; step < 60 && one.closed === null; step++) {
    const before = heardByClient.length
    const fate = dice.below(200)
    if (one.held.length > 0 && dice.oneIn(2)) {
      const { kind } = one.held[0]!
      one.release(kind, dice.oneIn(6) ? trouble() : kind === 'seal-key' ? key : vault)
      settle()
    } else if (fate === 0) one.step({ on: 'drain', forced: dice.oneIn(2) })
    else if (fate === 1) one.step({ on: 'deadline' })
    else if (fate === 2) one.step({ on: 'closed', side: 'client', error: null })
    else if (dice.oneIn(4)) {
      // As most do: an envelope, and DATA.
      say('MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n')
    } else say(`${dice.pick(COMMANDS)}\r\n`)
    settle()
    // An honest client writes its message when it has its 354, and not before.
    if (!/^354 /m.test(heardByClient.slice(before)) || one.closed !== null) continue
    const body = Array.from({ length: dice.below(8) }, () => dice.pick(LINES)).join('\r\n')
    say(`Subject: ${SECRET}\r\n\r\n${body.replace(/(^|\r\n)\./g, '$1..')}\r\n.\r\n`)
  }
  settle()
  assert(!provider.commands.includes('smuggled'), provider.commands)
  const acknowledged = heardByClient.split('ves://vesmail/m').length - 1
  assert(acknowledged <= provider.accepted, `${acknowledged} acknowledged, ${provider.accepted} taken`)
  return acknowledged
}
