/** A session with the real sealer and opener, before a model server: what a client gets, and what it costs upstream. */

import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { parseFetchItems } from '../../../src/engine/imap/fetch-items.ts'
import { sealTransforms } from '../../../src/engine/imap/seal-transforms.ts'
import { seal } from '../seal/through.ts'
import { fetchAnswer, ModelServer } from './model-server.ts'
import { KEY, SETTINGS as SEAL_SETTINGS, Stage, type StageOptions } from './stage.ts'

const TRANSFORMS = sealTransforms({ host: 'proxy.test', random: (octets) => Buffer.alloc(octets, 7) })

/** As the C gateway seals, and ours in submission beyond `maxbuf`: no sealed sizes. */
export function sealedWithoutSizes(message: Buffer, maxbufOctets = 1000): Buffer {
  const settings = { ...SEAL_SETTINGS, maxbufOctets }
  return seal(message, { options: { settings }, answer: { key: KEY } })
}

export class RealMail {
  readonly stage: Stage
  readonly server: ModelServer
  /** Commands that reached the server since {@link asked} was last called. */
  #asked: string[] = []

  /** UIDs count from 7. */
  constructor(sealed: readonly Buffer[], options: StageOptions = {}, mailbox = 'INBOX', uidValidity = 9) {
    this.stage = Stage.ready({ transforms: TRANSFORMS, ...options })
    this.server = new ModelServer(
      sealed.map((octets, i) => ({ uid: 7 + i, octets, flags: '' })),
      () => '',
    )
    this.select(mailbox, uidValidity)
  }

  select(mailbox: string, uidValidity: number, code = ''): void {
    this.stage.client(`s SELECT ${mailbox}\r\n`)
    this.stage.server(`* OK [UIDVALIDITY ${uidValidity}] x\r\n${code}s OK done\r\n`)
    this.stage.takeClient()
    this.stage.takeUpstream()
  }

  /** @returns all that the client gets, the tagged line included */
  ask(command: string): string {
    this.stage.client(`c ${command}\r\n`)
    let out = ''
    for (;;) {
      const lines = this.stage.takeUpstream().split('\r\n').slice(0, -1)
      for (const line of lines) {
        this.#asked.push(line.replace(/^\S+ /, ''))
        this.stage.server(this.reply(line))
      }
      out += this.stage.takeClient()
      if (lines.length === 0) return out
    }
  }

  /** What the server says to a command line of the gateway. */
  reply(line: string): string {
    return this.server.answer(line)
  }

  asked(): string[] {
    const asked = this.#asked
    this.#asked = []
    return asked
  }
}

/** What a server that has the message in plain would say to `FETCH 1 …`. */
export function plainAnswer(message: Buffer, items: string, uid = 7): string {
  const parsed = parseFetchItems(new Cursor(Buffer.from(items)))
  return `${fetchAnswer(1, { uid, octets: message, flags: '' }, parsed, false)}c OK FETCH done\r\n`
}
