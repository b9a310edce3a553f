/** Which of our messages a Maildir holds, and how often: read from the files, past every server. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** @returns times that each message id is there */
export function messagesIn(maildir: string): Map<string, number> {
  const found = new Map<string, number>()
  for (const folder of ['new', 'cur']) {
    for (const file of readdirSync(join(maildir, folder))) {
      const id = /^X-VESmail-ID: <(restart-[^>]+)>/m.exec(readFileSync(join(maildir, folder, file), 'latin1'))?.[1]
      if (id !== undefined) found.set(id, (found.get(id) ?? 0) + 1)
    }
  }
  return found
}

/** Waits until all have been delivered, or nothing has come for a while. */
export async function delivered(
  maildir: string,
  ids: ReadonlySet<string>,
  patienceMs = 15_000,
): Promise<Map<string, number>> {
  let found = messagesIn(maildir)
  let newest = performance.now()
  while ([...ids].some((id) => !found.has(id)) && performance.now() - newest < patienceMs) {
    await new Promise((later) => setTimeout(later, 250))
    const next = messagesIn(maildir)
    if (next.size > found.size) newest = performance.now()
    found = next
  }
  return found
}
