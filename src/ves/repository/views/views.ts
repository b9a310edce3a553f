/**
 * The views as they see each other: keys show items, items show keys, both show users. Handed along with the call, so
 * that the files need not import each other in a circle.
 */
import type { Call } from '../call.ts'
import type { Fields } from '../fields.ts'
import type { EntryRow, ItemRow, UserRow } from '../store/schema.ts'
import type { View } from './keys.ts'

export interface Views {
  items(call: Call, rows: readonly ItemRow[], fields: Fields | null): Promise<View[]>
  entriesOfKey(call: Call, rows: readonly EntryRow[], fields: Fields | null): Promise<View[]>
  users(call: Call, rows: readonly UserRow[], fields: Fields | null): Promise<View[]>
}
