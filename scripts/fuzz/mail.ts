/**
 * Fuzz targets of the mail transform: generated MIME trees and mutated real messages, sealed and opened.
 * Rule: a result or a GatewayError, the same in one piece and in pieces, and what was sealed comes back.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { GatewayError } from '../../src/base/errors.ts'
import { MAX_HEADER_OCTETS } from '../../src/engine/mime/limits.ts'
import { MimeReader, type PartKind } from '../../src/engine/mime/reader.ts'
import type { SealedSizes } from '../../src/engine/seal/exactness.ts'
import { Opener } from '../../src/engine/seal/opener.ts'
import { alterationsOf, outcomeOf as alteredOutcome } from '../../test/engine/seal/altered.ts'
import { type Dice, generateMessage, mutate } from '../../test/engine/seal/generate.ts'
import { generateLong } from '../../test/engine/seal/long-texts.ts'
import { plainOpen } from '../../test/engine/seal/plain-reader.ts'
import {
  KEY,
  open,
  piecesOf,
  randomPieces,
  seal,
  sealAnswer,
  sealerFor,
  through,
  whole,
} from '../../test/engine/seal/through.ts'
import type { FuzzTarget } from './target.ts'

const FIXTURES = new URL('../../test/engine/seal/fixtures/', import.meta.url)
const MAX_FIXTURE_OCTETS = 16 * 1024

let fixtures: Buffer[] | null = null

function realMessages(): readonly Buffer[] {
  fixtures ??= readdirSync(FIXTURES, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.eml'))
    .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`))
    .filter((bytes) => bytes.length <= MAX_FIXTURE_OCTETS)
  return fixtures
}

/** Half of them grown, half of them real and made worse. */
function anyMessage(dice: Dice): Buffer {
  const real = realMessages()
  const message = dice.oneIn(2) && real.length > 0 ? mutate(dice.pick(real), dice) : generateMessage(dice)
  return dice.oneIn(3) ? mutate(message, dice) : message
}

const cut = (dice: Dice, seed: number) => (dice.oneIn(20) ? piecesOf(1 + dice.below(3)) : randomPieces(String(seed)))

export const MAIL_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'roundtrip',
    run(dice, seed) {
      const message = anyMessage(dice)
      const sealed = seal(message)
      same('sealed in pieces', seal(message, { chunks: cut(dice, seed) }), sealed)
      openedSilently(sealed, message)
      same('opened in pieces', open(sealed, KEY, cut(dice, seed)), message)
      openedSilently(withBlankLines(sealed, dice), null)
      plainOpen(sealed, KEY.keyString)
    },
  },
  {
    // More than the buffer takes.
    name: 'long',
    run(dice, seed) {
      const { message, maxbufOctets } = dice.oneIn(4)
        ? generateLong(dice, 8000)
        : { message: anyMessage(dice), maxbufOctets: 1 + dice.below(1500) }
      const how = { options: { settings: { maxbufOctets } } }
      const sealed = seal(message, how)
      same('sealed in pieces', seal(message, { ...how, chunks: cut(dice, seed) }), sealed)
      openedSilently(sealed, message)
      same('opened in pieces', open(sealed, KEY, cut(dice, seed)), message)
      openedSilently(withBlankLines(sealed, dice), null)
      const padded = dice.oneIn(2)
      const counted = seal(message, { options: { ...how.options, totalOctets: message.length, padded } })
      openedSilently(counted, message)
      openedSilently(withBlankLines(counted, dice), padded ? message : null)
    },
  },
  {
    // Cut anywhere behind the root's header: an error, or told as incomplete, or no leaf is gone.
    name: 'cut',
    run(dice) {
      const message = anyMessage(dice)
      const sealer = sealerFor({ options: { settings: { maxbufOctets: dice.pick([1, 100, 1000, 1 << 20]) } } })
      const sealed = through(sealer, whole(message), sealAnswer())
      const octets = sealed.length - dice.below((sealer.facts.sizes.body.sealedOctets ?? 0) + 1)
      const opener = new Opener({ maxbufOctets: 1 << 20 })
      const outcome = outcomeOf(() => through(opener, whole(sealed.subarray(0, octets)), { key: KEY }))
      if (outcome.subarray(0, 6).equals(Buffer.from('error ')) || opener.facts.missingParts > 0) return
      const [before, after] = [sealer.facts, opener.facts].map(({ sizes }) => leavesOf(sizes))
      if (after! < before!) throw new Error(`cut to ${octets} octets, and complete: ${after} leaves of ${before}`)
    },
  },
  {
    name: 'tamper',
    run(dice, seed) {
      const sealed = mutate(seal(anyMessage(dice)), dice)
      const outcome = outcomeOf(() => open(sealed))
      same(
        'outcome in pieces',
        outcomeOf(() => open(sealed, KEY, cut(dice, seed))),
        outcome,
      )
    },
  },
  {
    // Of a message within the buffer that has a part at all: altered, an error, or told, or the same words come out.
    name: 'altered',
    run(dice) {
      const message = anyMessage(dice)
      const sealer = sealerFor()
      const sealed = through(sealer, whole(message), sealAnswer())
      if (leavesOf(sealer.facts.sizes) === 0) return
      const { name, bytes } = dice.pick([...alterationsOf(sealed, 1 + dice.below(200))])
      mustBeTold(message, bytes, name)
      const bodyAt = /\r?\n\r?\n/.exec(sealed.toString('latin1'))?.index ?? 0
      const body = mutate(sealed.subarray(bodyAt + 4), dice)
      mustBeTold(message, Buffer.concat([sealed.subarray(0, bodyAt + 4), body]), 'mutated')
    },
  },
  {
    // Headers that say they are sealed, and are not.
    name: 'open',
    run(dice, seed) {
      const message = Buffer.concat([Buffer.from('X-VESmail-ID: <a@b>\r\n'), anyMessage(dice)])
      const outcome = outcomeOf(() => through(new Opener({ maxbufOctets: 1000 }), whole(message), { key: KEY }))
      same(
        'outcome in pieces',
        outcomeOf(() => open(message, KEY, cut(dice, seed))),
        outcome,
      )
    },
  },
  {
    name: 'mime-reader',
    run(dice, seed) {
      const message = anyMessage(dice)
      const kinds = dice.below(1 << 16)
      const { trace, joined } = eventsOf(message, whole, kinds)
      same('events in pieces', eventsOf(message, cut(dice, seed), kinds).trace, trace)
      same('events joined', joined, message)
    },
  },
]

/** Of mail that nobody altered nothing is told. @param message null: blank lines behind it are none of what was sealed */
function openedSilently(sealed: Buffer, message: Buffer | null): void {
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  const opened = through(opener, whole(sealed), { key: KEY })
  if (message !== null) same('opened', opened, message)
  const { encrypted, missingParts, endMissing, unsealedParts, unsealedAt, altered, layoutLost } = opener.facts
  const told = { missingParts, endMissing, unsealedParts, places: unsealedAt.length, altered, layoutLost }
  if (encrypted !== true || Object.values(told).some(Boolean)) {
    throw new Error(`nobody altered it, and it is told: ${JSON.stringify(told)}`)
  }
}

/** As delivery may add them. */
function withBlankLines(sealed: Buffer, dice: Dice): Buffer {
  return Buffer.concat([sealed, Buffer.from('\r\n'.repeat(1 + dice.below(40)))])
}

function mustBeTold(original: Buffer, altered: Buffer, name: string): void {
  if (alteredOutcome(original, altered, 'words').outcome === 'silent') throw new Error(`not told: ${name}`)
}

function same(what: string, actual: Buffer, expected: Buffer): void {
  if (actual.equals(expected)) return
  let at = 0
  while (actual[at] === expected[at]) at++
  const around = (bytes: Buffer) => JSON.stringify(bytes.toString('latin1', Math.max(0, at - 40), at + 40))
  throw new Error(`${what}: differs at ${at}: ${around(actual)} instead of ${around(expected)}`)
}

/** The octets, or the code of a typed error. Anything else is a finding. */
function outcomeOf(run: () => Buffer): Buffer {
  try {
    return run()
  } catch (error) {
    if (error instanceof GatewayError) return Buffer.from(`error ${error.code}`)
    throw error
  }
}

/** Leaves with a body, be it a sealed one or the rest of a header that was cut. */
function leavesOf({ parts }: SealedSizes): number {
  return (parts ?? []).filter(({ kind, sealedOctets }) => kind === 'leaf' && sealedOctets !== 0).length
}

interface Events {
  /** Names and octets. */
  readonly trace: Buffer
  /** Octets alone. */
  readonly joined: Buffer
}

function eventsOf(message: Buffer, chunks: (bytes: Buffer) => Iterable<Buffer>, kinds: number): Events {
  const reader = new MimeReader(MAX_HEADER_OCTETS)
  const trace: Buffer[] = []
  const joined: Buffer[] = []
  const put = (bytes: Buffer) => {
    trace.push(bytes)
    joined.push(bytes)
  }
  let last = ''
  const mark = (name: string) => {
    if (last !== name || name === 'headers') trace.push(Buffer.from(`\0${name}\0`))
    last = name
  }
  let part = 0
  const drain = () => {
    for (let event = reader.next(); event !== null; event = reader.next()) {
      mark(event.on === 'end' ? `end${event.part}` : event.on.replace('-', ''))
      if (event.on === 'headers') {
        put(event.block.bytes)
        reader.enter(kindOf(kinds, part++, reader))
      } else if (event.on === 'body' || event.on === 'text') put(event.bytes)
      else if (event.on === 'delimiter') {
        put(Buffer.from(event.eol, 'latin1'))
        put(event.line)
      }
    }
  }
  for (const chunk of chunks(message)) {
    reader.push(chunk)
    drain()
  }
  reader.end()
  drain()
  return { trace: Buffer.concat(trace), joined: Buffer.concat(joined) }
}

function kindOf(kinds: number, part: number, reader: MimeReader): PartKind {
  const choice = (kinds >> ((part * 2) % 16)) & 3
  if (choice === 0 || reader.depth > 8) return { kind: 'leaf' }
  if (choice === 1) return { kind: 'message' }
  return { kind: 'multipart', boundary: choice === 2 ? 'b' : 'bb' }
}
