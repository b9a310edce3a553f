/** The question before a key may replace another. */
import type { Db } from './schema.ts'

/** Entries of the old key's whose item the new key has none of; the old key's own password item does not count. */
export async function entriesMissingOn(db: Db, keys: { oldKeyId: number; newKeyId: number }): Promise<number> {
  const row = await db
    .selectFrom('vault_entries as e')
    .innerJoin('vault_items as i', 'i.id', 'e.item_id')
    .select((e) => e.fn.countAll<number | string>().as('n'))
    .where('e.key_id', '=', keys.oldKeyId)
    .where('i.deleted', '=', 0)
    .where((e) => e.or([e('i.key_id', 'is', null), e('i.key_id', 'not in', [keys.oldKeyId, keys.newKeyId])]))
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('vault_entries as n')
            .select('n.id')
            .whereRef('n.item_id', '=', 'e.item_id')
            .where('n.key_id', '=', keys.newKeyId),
        ),
      ),
    )
    .executeTakeFirstOrThrow()
  return Number(row.n)
}
