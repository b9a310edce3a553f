/** The C gateway's messages, with their keys (`test/vectors/README.md`). */
import { readdirSync, readFileSync } from 'node:fs'
import type { MessageKey } from '../../../src/engine/seal/message-key.ts'

const FOLDER = new URL('../../vectors/', import.meta.url)

export interface VectorMessage {
  readonly name: string
  readonly plain: Buffer
  readonly encrypted: Buffer
  readonly decrypted: Buffer
  readonly key: MessageKey
}

interface Item {
  readonly externalId: string
  readonly value: string
}

export const VECTOR_MESSAGES: readonly VectorMessage[] = load()

function load(): VectorMessage[] {
  const { items } = JSON.parse(readFileSync(new URL('vault-keys.json', FOLDER), 'utf8')) as { items: Item[] }
  const names = readdirSync(new URL('messages', FOLDER)).flatMap((file) => /^(.*)\.plain\.eml$/.exec(file)?.[1] ?? [])
  return names.sort().map((name) => {
    const read = (kind: string) => readFileSync(new URL(`messages/${name}.${kind}.eml`, FOLDER))
    const encrypted = read('encrypted')
    const id = /X-VESmail-ID: <(.*)>/.exec(encrypted.toString('latin1'))?.[1]
    const item = items.find(({ externalId }) => externalId === id)
    if (item === undefined) throw new Error(`no key for ${name}`)
    const key: MessageKey = { algo: 'AES256GCM1K', keyString: Buffer.from(item.value, 'hex') }
    return { name, plain: read('plain'), encrypted, decrypted: read('decrypted'), key }
  })
}
