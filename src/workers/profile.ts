/**
 * The mail profile: a JSON item in the account's vault that says how to reach the provider (daemon.md §3). Everything
 * in it comes from outside, so all of it is checked and bounded.
 */
import { z } from 'zod'
import { parsePort } from '../base/config/ports.ts'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import type { Profile, Provider, SealMode, Sizes, TlsLevel } from '../engine/account.ts'

/** Real ones have a few hundred octets. */
const MAX_PROFILE_OCTETS = 64 * 1024
const IMAP_PORT = 143
const SMTP_PORT = 25

const Word = z
  .string()
  .max(1024)
  .regex(/^[^\r\n\0]*$/)
const Server = z.looseObject({
  host: Word.min(1).max(255),
  port: z.union([z.number(), z.string().max(32)]).nullish(),
  login: Word.nullish(),
  password: z.string().max(16_384).nullish(),
  sasl: z.string().max(64).nullish(),
  tls: z.looseObject({ level: z.unknown().optional(), persist: z.unknown().optional() }).nullish(),
  calc: z.unknown().optional(),
  sizes: z.unknown().optional(),
  unavailable: z.unknown().optional(),
  search: z.unknown().optional(),
  mode: z.unknown().optional(),
  override: z.string().max(4096).nullish(),
})
const ProfileObject = z.looseObject({ imap: z.unknown().optional(), smtp: z.unknown().optional() })

const LEVELS: readonly TlsLevel[] = ['none', 'optional', 'unsecure', 'medium', 'high']
const MODES: readonly SealMode[] = ['PLAIN', 'FALLBACK', 'REJECT', 'XCHG', 'HIGH']
const SIZES: readonly Sizes[] = ['auto', 'exact', 'estimate']

export interface ReadProfile {
  readonly profile: Profile
  /** URL whose JSON may override settings, by service; null where there is none. */
  readonly overrides: { readonly imap: string | null; readonly smtp: string | null }
}

/** @throws {GatewayError} PROFILE_INVALID; the detail says where, never what */
export function parseProfile(value: Buffer): ReadProfile {
  if (value.length > MAX_PROFILE_OCTETS) throw invalid('too large')
  let json: unknown
  try {
    json = JSON.parse(value.toString('utf8'))
  } catch {
    // The parser's message quotes the text, which holds a password: it is not kept.
    throw invalid('no JSON')
  }
  const object = ProfileObject.safeParse(json)
  if (!object.success) throw invalid('no object')
  const imap = server(object.data.imap, 'imap')
  const smtp = server(object.data.smtp, 'smtp')
  return {
    profile: Object.freeze({
      imap:
        imap === null
          ? null
          : {
              ...provider(imap, IMAP_PORT, 'imap'),
              sizes: imap.calc === true ? 'exact' : pick(SIZES, imap.sizes),
              ...(imap.unavailable === 'placeholder' ? { unavailable: 'placeholder' as const } : {}),
              ...(imap.search === 'open' ? { search: 'open' as const } : {}),
            },
      smtp: smtp === null ? null : { ...provider(smtp, SMTP_PORT, 'smtp'), mode: pick(MODES, upper(smtp.mode)) },
    }),
    overrides: { imap: imap?.override ?? null, smtp: smtp?.override ?? null },
  }
}

function server(value: unknown, where: string): z.infer<typeof Server> | null {
  if (value === undefined || value === null) return null
  const parsed = Server.safeParse(value)
  if (!parsed.success) throw invalid(`${where}.${parsed.error.issues[0]?.path.join('.') ?? ''}`)
  return parsed.data
}

function provider(given: z.infer<typeof Server>, defaultPort: number, where: string): Provider {
  const port = given.port == null || given.port === '' ? defaultPort : parsePort(given.port)
  if (port === null) throw invalid(`${where}.port`)
  return {
    host: given.host,
    port,
    // Absent or unknown: the safe one.
    tls: { level: pick(LEVELS, given.tls?.level) ?? 'high', persist: given.tls?.persist === true },
    login: given.login ?? '',
    password: new Secret(given.password ?? ''),
    sasl: given.sasl == null || given.sasl === '' ? null : given.sasl,
  }
}

function pick<const T extends string>(values: readonly T[], given: unknown): T | null {
  return values.find((value) => value === given) ?? null
}

function upper(value: unknown): unknown {
  return typeof value === 'string' ? value.toUpperCase() : value
}

function invalid(where: string): GatewayError {
  return new GatewayError('PROFILE_INVALID', { where })
}
