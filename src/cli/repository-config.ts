/** The file that `vesmail repository serve --config` reads: what is too much, or too secret, for a command line. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { type MailKind, type MailTemplate, parseTemplate } from '../ves/repository/mailer.ts'
import { DEFAULT_SETTINGS, type Settings } from '../ves/repository/settings.ts'

export interface RepositoryConfig {
  readonly database: string | undefined
  readonly settings: Settings
  readonly mail: MailConfig | null
}

export interface MailConfig {
  readonly smtp: Secret<string>
  readonly from: string
  readonly onboardingUrl: string
  readonly templates: Partial<Record<MailKind, MailTemplate>>
}

const count = z.number().int().min(1).max(1_000_000_000)
const names = z.array(z.string().min(1).max(255)).max(1000)

const SETTINGS = z.strictObject({
  domains: names,
  origins: names,
  maxStrangerBodyOctets: count,
  maxBodyOctets: count.max(64 * 1024 * 1024),
  maxEntriesPerItem: count.max(10_000),
  maxKeysPerUser: count,
  maxTempKeysPerUser: count,
  maxTempKeysPerName: count,
  maxSessionsPerKey: count,
  requestsPerSecondPerAddress: count,
  requestBurstPerAddress: count,
  requestsPerSecondPerUser: count,
  requestBurstPerUser: count,
  uncountedAddresses: names,
  attnEveryMs: z.number().int().min(0).max(86_400_000),
  onboardingPerAddressPerDay: count,
  onboardingPerPeerPerHour: count,
  invite: z.boolean(),
  invitesPerUserPerHour: count,
  minRecoveryDelaySeconds: z
    .number()
    .int()
    .min(0)
    .max(90 * 86_400),
})

const CONFIG = z.strictObject({
  database: z
    .string()
    .regex(/^postgres(ql)?:\/\//)
    .optional(),
  settings: SETTINGS.partial().optional(),
  mail: z
    .strictObject({
      smtp: z.string().regex(/^smtps?:\/\//),
      from: z.string().min(3).max(320),
      /** `{email}` and `{token}` are filled in. */
      onboardingUrl: z.string().min(1).max(2048).default('vesmail account create {email} --token {token}'),
      /** Folder with onboarding.txt, invite.txt, recovery.txt; one that is not there: the built-in one. */
      templates: z.string().optional(),
    })
    .optional(),
})

/** @param file null: all by default @throws GatewayError CONFIG_INVALID naming the key */
export function readRepositoryConfig(file: string | null): RepositoryConfig {
  let value: unknown = {}
  try {
    if (file !== null) value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new GatewayError('CONFIG_INVALID', { file, text: 'unreadable, or not JSON' }, error)
  }
  const parsed = CONFIG.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new GatewayError('CONFIG_INVALID', { file, key: issue?.path.join('.') ?? '', text: issue?.message ?? '' })
  }
  const { database, settings, mail } = parsed.data
  const given = Object.fromEntries(Object.entries(settings ?? {}).filter(([, one]) => one !== undefined))
  return {
    database,
    settings: { ...DEFAULT_SETTINGS, ...given },
    mail:
      mail === undefined
        ? null
        : {
            smtp: new Secret(mail.smtp),
            from: mail.from,
            onboardingUrl: mail.onboardingUrl,
            templates: mail.templates === undefined ? {} : readTemplates(mail.templates),
          },
  }
}

function readTemplates(folder: string): Partial<Record<MailKind, MailTemplate>> {
  const templates: Partial<Record<MailKind, MailTemplate>> = {}
  for (const kind of ['onboarding', 'invite', 'recovery'] as const) {
    const file = join(folder, `${kind}.txt`)
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue
      throw new GatewayError('CONFIG_INVALID', { file, text: 'unreadable' }, error)
    }
    const template = parseTemplate(text)
    if (template === null) throw new GatewayError('CONFIG_INVALID', { file, text: '"Subject: …", an empty line, text' })
    templates[kind] = template
  }
  return templates
}
