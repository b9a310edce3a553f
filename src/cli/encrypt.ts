/** `vesmail encrypt`: one message through the sealer, for the recipients in its header (message-format.md §4). */
import { hostname } from 'node:os'
import { Command } from 'commander'
import { GatewayError, messageOf } from '../base/errors.ts'
import { viewerUrlOf } from '../engine/seal/banner.ts'
import type { SealKeyAnswer, SealKeyAsk } from '../engine/seal/message-key.ts'
import { publicRandom } from '../engine/seal/random.ts'
import { Sealer } from '../engine/seal/sealer.ts'
import type { MailSettings } from '../engine/settings.ts'
import type { Spool, SpoolPlace, SpoolWriter } from '../net/now/spool.ts'
import type { Recipient, VesSession } from '../ves/client/ves-client.ts'
import { loadBanners } from '../workers/banners.ts'
import { mailSettings } from '../workers/mail-settings.ts'
import { spoolOf } from '../workers/spools.ts'
import { type Copy, type FilterOptions, runFilter, withFilterOptions } from './filter.ts'

/** A header may name thousands; the repository is asked for so many at a time. */
const LOOKUPS_AT_ONCE = 8

export function encryptCommand(): Command {
  return withFilterOptions(new Command('encrypt'))
    .description('encrypt a message for the recipients in its To, Cc and Bcc; stdin to stdout')
    .action(encrypt)
}

async function encrypt(options: FilterOptions): Promise<void> {
  await runFilter(options, ({ session, config, log }) => {
    const settings = mailSettings(config, loadBanners(config, log))
    const transform = new Sealer({
      random: publicRandom,
      idBase: `.VESmail@${hostname()}`,
      settings,
      totalOctets: null,
      addedIdStays: false,
    })
    const spool = spoolOf(config, log)
    return {
      transform,
      answers: { 'seal-key': (ask) => makeKey(ask, session, settings) },
      ...(spool === null
        ? {}
        : {
            copy: () => {
              const place = { creator: session.user.email, messageId: transform.facts.messageId }
              return spoolCopy(spool, place)
            },
          }),
    }
  })
}

/** For readers without a gateway. A full disk or a copy that is there already is told, and the message goes on. */
async function spoolCopy(spool: Spool, place: SpoolPlace): Promise<Copy> {
  let writer: SpoolWriter | null = null
  const guarded = async (step: () => Promise<void>): Promise<void> => {
    try {
      await step()
    } catch (error) {
      process.stderr.write(`vesmail: warning: not spooled: ${messageOf(error)}\n`)
      const failed = writer
      writer = null
      await failed?.abort()
    }
  }
  await guarded(async () => {
    writer = await spool.create(place)
  })
  return {
    write: (bytes) => guarded(async () => writer?.write(bytes)),
    commit: () =>
      guarded(async () => {
        if (writer !== null && !(await writer.commit())) throw new Error('there is a copy of that name')
      }),
    abort: () => guarded(async () => writer?.abort()),
  }
}

/** Fails where one lookup fails: nobody is left out in silence. */
async function makeKey(ask: SealKeyAsk, session: VesSession, settings: MailSettings): Promise<SealKeyAnswer> {
  const recipients: Recipient[] = []
  for (let at = 0; at < ask.headerRecipients.length; at += LOOKUPS_AT_ONCE) {
    const some = ask.headerRecipients.slice(at, at + LOOKUPS_AT_ONCE)
    recipients.push(...(await Promise.all(some.map(({ address, name }) => lookUp(session, address, name)))))
  }
  for (const name of settings.audit) recipients.push(await session.vault(name))
  const { viewerUrl } = settings
  const created = await session.createMessageKey(ask.messageId, recipients, {
    xchg: true,
    viewerUrl: viewerUrl === null ? null : viewerUrlOf(viewerUrl, ask.messageId),
  })
  const verify = await session.verifyToken(created.itemId)
  return { key: created.key, uri: created.uri, xchg: created.xchg, verify: verify.expose() }
}

async function lookUp(session: VesSession, address: string, name: string | null): Promise<Recipient> {
  const recipient = await session.recipient(address, 'anyone', name)
  if (recipient === null) throw new GatewayError('RECIPIENT_WITHOUT_VAULT', { address })
  return recipient
}
