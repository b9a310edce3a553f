/**
 * What the key repository said of a message and a bearer, for a few seconds: a viewer asks for the same message again and
 * again (after a broken download, in a second window), and each time would cost the repository a query. Only a yes is
 * remembered; neither token nor message id is kept, only their digest. A bearer that loses access may read that long.
 */
import { hash } from 'node:crypto'
import type { Secret } from '../../base/secret.ts'
import type { SpoolReaders } from './download.ts'
import type { SpooledItem } from './spooled-item.ts'

const BELIEVED_MS = 5000
/** Bearers are strangers' to choose: the oldest answers go first. */
const MAX_ENTRIES = 10_000

type Ask = (messageId: string, token: Secret<string>) => Promise<SpooledItem>

/** What is believed comes at once. */
export function cachedItem(ask: Ask, nowMs: () => number): SpoolReaders['item'] {
  const known = new Map<string, { readonly item: SpooledItem; readonly untilMs: number }>()
  const asked = async (key: string, messageId: string, token: Secret<string>): Promise<SpooledItem> => {
    // From when it was asked: the answer may be old when it comes, and overtake a later no.
    const untilMs = nowMs() + BELIEVED_MS
    const item = await ask(messageId, token)
    known.delete(key)
    if (item.isShared) {
      known.set(key, { item: { ...item, isBelieved: () => nowMs() < untilMs }, untilMs })
      if (known.size > MAX_ENTRIES) known.delete(known.keys().next().value as string)
    }
    return item
  }
  return (messageId, token) => {
    const key = hash('sha256', `${token.expose()}\0${messageId}`, 'base64')
    const found = known.get(key)
    return found !== undefined && found.untilMs > nowMs() ? found.item : asked(key, messageId, token)
  }
}
