/** FETCH and UID FETCH as commands (RFC 9051 §6.4.5, RFC 7162 §3.1.4): the set, the items, and the modifiers behind them. */
import type { ClientCommand } from './command-reader.ts'
import { Cursor, syntax } from './cursor.ts'
import { type ContentItem, type FetchItem, parseFetchItems } from './fetch-items.ts'
import { type NumberSet, parseSet } from './sequence-set.ts'

export interface FetchCommand {
  readonly command: ClientCommand
  readonly uid: boolean
  readonly set: NumberSet
  readonly items: readonly FetchItem[]
  /** ` (CHANGEDSINCE 7 VANISHED)` with its space as the client gave them, or empty. */
  readonly modifiers: string
  /** ` (CHANGEDSINCE 7)`: what of them holds for a part of the set too. */
  readonly partModifiers: string
  /** The client's command as it goes up once the vanished ones were told (RFC 7162 §3.2.6). */
  readonly withoutVanished: ClientCommand
}

/** @throws {GatewayError} SYNTAX, also for items we do not know: they might be content */
export function parseFetch(command: ClientCommand): FetchCommand {
  const cursor = new Cursor(command.text, command.argsAt)
  cursor.space()
  const set = parseSet(cursor)
  cursor.space()
  const items = parseFetchItems(cursor)
  const end = cursor.at
  let modifiers = ''
  if (!cursor.ended) {
    cursor.space()
    const from = cursor.at
    if (!cursor.isNext('(')) throw syntax(from)
    cursor.skipValue()
    modifiers = ` ${command.text.toString('latin1', from, cursor.at)}`
    if (!cursor.ended) throw syntax(cursor.at)
  }
  const since = /CHANGEDSINCE +\d+/i.exec(modifiers)?.[0]
  const rest = modifiers.replace(/ +VANISHED|VANISHED +/i, '')
  return {
    command,
    uid: command.name === 'UID FETCH',
    set,
    items,
    modifiers,
    partModifiers: since === undefined ? '' : ` (${since})`,
    withoutVanished:
      rest === modifiers
        ? command
        : { ...command, text: Buffer.concat([command.text.subarray(0, end), Buffer.from(`${rest}\r\n`, 'latin1')]) },
  }
}

export function isContent(item: FetchItem): item is ContentItem {
  return item.kind !== 'attribute'
}

/** Does answering it set \Seen? */
export function setsSeen(item: FetchItem): boolean {
  return (item.kind === 'section' || item.kind === 'binary') && !item.peek
}
