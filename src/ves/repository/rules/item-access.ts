/** Who writes an item: its creator, whoever administration was granted to, and a password item's key's own people. */
import type { Call } from '../call.ts'
import { itemsHeldBy } from '../store/items.ts'
import { keyById } from '../store/keys.ts'
import type { ItemRow } from '../store/schema.ts'
import type { Actor } from './names.ts'

export async function isItemWriter(call: Call, actor: Actor, item: ItemRow): Promise<boolean> {
  if (item.key_id !== null) {
    const key = await keyById(call.db, item.key_id)
    return key !== null && (key.user_id === actor.userId || key.creator_id === actor.userId)
  }
  if (item.creator_id === actor.userId) return true
  return (await itemsHeldBy(call.db, [item.id], actor.userId, '.admin')).has(item.id)
}
