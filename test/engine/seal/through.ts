/** Messages through the sealer and the opener, in pieces of any size, for the tests and the round-trip script's twin. */
import { createHash } from 'node:crypto'
import { runBatch } from '../../../src/engine/seal/batch.ts'
import type { MessageKey, SealKeyAnswer } from '../../../src/engine/seal/message-key.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import { Sealer, type SealerOptions } from '../../../src/engine/seal/sealer.ts'
import type { Transform, TransformAction, TransformAsk } from '../../../src/engine/transform.ts'

export const KEY: MessageKey = {
  algo: 'AES256GCM1K',
  keyString: Buffer.from(Array.from({ length: 44 }, (_, i) => i * 5 + 1)),
}

/** Reproducible octets: the same for the same seed, however they are asked for. */
export function seededRandom(seed: string): (octets: number) => Buffer {
  let counter = 0
  return (octets) => {
    const blocks: Buffer[] = []
    for (let have = 0; have < octets; have += 32) {
      blocks.push(createHash('sha256').update(`${seed}/${counter++}`).digest())
    }
    return Buffer.concat(blocks).subarray(0, octets)
  }
}

export const BANNERS = [
  Buffer.from('Content-Type: text/plain\n\nThis is a VESmail encrypted message: {$url}\n'),
  Buffer.from('Content-Type: text/html\n\n<p>This is a VESmail encrypted message.</p>\n'),
]

export interface SealCase {
  readonly options?: Partial<Omit<SealerOptions, 'settings'>> & {
    readonly settings?: Partial<SealerOptions['settings']>
  }
  readonly answer?: Partial<SealKeyAnswer>
  readonly chunks?: (bytes: Buffer) => Iterable<Buffer>
}

export function sealerFor({ options = {} }: SealCase = {}): Sealer {
  return new Sealer({
    random: seededRandom('seal'),
    idBase: '.VESmail@gateway.example',
    totalOctets: null,
    addedIdStays: false,
    ...options,
    settings: {
      subject: '<VESmail encrypted message>',
      banners: BANNERS,
      viewerUrl: null,
      maxbufOctets: 1 << 20,
      ...options.settings,
    },
  })
}

export function sealAnswer(answer: Partial<SealKeyAnswer> = {}): SealKeyAnswer {
  return { key: KEY, uri: 'ves://vesmail/x', xchg: null, verify: null, ...answer }
}

export function seal(message: Buffer, how: SealCase = {}): Buffer {
  return through(sealerFor(how), (how.chunks ?? whole)(message), sealAnswer(how.answer))
}

export function open(
  message: Buffer,
  key: MessageKey = KEY,
  chunks: (bytes: Buffer) => Iterable<Buffer> = whole,
): Buffer {
  return through(new Opener({ maxbufOctets: 1 << 20 }), chunks(message), { key })
}

/**
 * Every question is answered at once; the key's answer is given.
 * @param out what comes, also where it ends by an error
 */
export function through(
  transform: Transform,
  chunks: Iterable<Buffer>,
  keyAnswer: unknown,
  out: Buffer[] = [],
): Buffer {
  let done = false
  const perform = (first: readonly TransformAction[]): void => {
    const asked: TransformAsk[] = []
    const take = (actions: readonly TransformAction[]): void => {
      for (const action of actions) {
        if (action.do === 'write') out.push(action.bytes)
        else if (action.do === 'done') done = true
        else asked.push(action)
      }
    }
    take(first)
    for (let ask = asked.shift(); ask !== undefined; ask = asked.shift()) {
      take(transform.answer(ask.id, ask.kind === 'batch' ? runBatch(ask.ask) : keyAnswer))
    }
  }
  for (const chunk of chunks) perform(transform.push(chunk))
  perform(transform.end())
  if (!done) throw new Error('the transform did not finish')
  return Buffer.concat(out)
}

export function whole(bytes: Buffer): Buffer[] {
  return [bytes]
}

/** Pieces of `octets` octets, each a buffer of its own, so that nothing survives by sharing memory. */
export function piecesOf(octets: number): (bytes: Buffer) => Iterable<Buffer> {
  return function* (bytes) {
    for (let at = 0; at < bytes.length; at += octets) yield Buffer.from(bytes.subarray(at, at + octets))
  }
}

export function randomPieces(seed: string): (bytes: Buffer) => Iterable<Buffer> {
  const random = seededRandom(`pieces ${seed}`)
  return function* (bytes) {
    for (let at = 0; at < bytes.length; ) {
      const octets = 1 + (random(2).readUInt16BE() % (random(1)[0]! < 128 ? 16 : 3000))
      yield Buffer.from(bytes.subarray(at, at + octets))
      at += octets
    }
  }
}
