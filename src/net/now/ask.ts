/** What a POST may ask for, from its JSON body (now.md). */
import { z } from 'zod'
import { Secret } from '../../base/secret.ts'
import { MAX_ID_OCTETS } from './spooled-item.ts'

/** No control character names anything, nor half of a surrogate pair. */
const text = z
  .string()
  .min(1)
  .max(MAX_ID_OCTETS)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u)
const server = z.looseObject({
  host: z.string().min(1).max(255),
  port: z.union([z.int().min(1).max(65_535), z.string().min(1).max(32)]),
  login: z.string().max(1024).optional(),
  password: z.string().max(16_384).optional(),
  sasl: z.string().max(64).optional(),
  tls: z.looseObject({ level: z.string().max(16).optional(), persist: z.boolean().optional() }).optional(),
})

const Body = z.union([
  z.object({
    // Its form is judged when it is known who asks.
    probe: z.looseObject({ imap: z.unknown().optional(), smtp: z.unknown().optional() }),
    token: z.string().max(1024).optional(),
  }),
  z.object({ messageId: text, externalId: text, VESkey: z.string().min(1).max(4096) }),
  z.object({ messageId: text, token: text }),
])

export type ProbedServer = z.infer<typeof server>

export type NowAsk =
  /** `protocol` null: neither imap nor smtp was named. `server` null: it is none, host and port are needed. */
  | {
      readonly kind: 'probe'
      readonly protocol: 'imap' | 'smtp' | null
      readonly server: ProbedServer | null
      readonly token: Secret<string> | null
    }
  | { readonly kind: 'sealed'; readonly messageId: string; readonly token: Secret<string> }
  | {
      readonly kind: 'opened'
      readonly messageId: string
      readonly externalId: string
      readonly veskey: Secret<Buffer>
    }

/** @returns null for anything that asks for none of these */
export function parseAsk(body: Buffer): NowAsk | null {
  const parsed = Body.safeParse(parseJson(body))
  if (!parsed.success) return null
  const ask = parsed.data
  if ('probe' in ask) {
    const protocol = ask.probe.imap !== undefined ? 'imap' : ask.probe.smtp !== undefined ? 'smtp' : null
    return {
      kind: 'probe',
      protocol,
      server: protocol === null ? null : (server.safeParse(ask.probe[protocol]).data ?? null),
      token: ask.token === undefined || ask.token === '' ? null : new Secret(ask.token),
    }
  }
  const messageId = ask.messageId.replace(/^<(.*)>$/, '$1').replace(/\.m\.ves\.world$/, '')
  if ('VESkey' in ask) {
    return { kind: 'opened', messageId, externalId: ask.externalId, veskey: new Secret(Buffer.from(ask.VESkey)) }
  }
  return { kind: 'sealed', messageId, token: new Secret(ask.token) }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
