/** Proving that one owns an address, by mail. The answer is the same whoever asks for whatever address. */
import { GatewayError } from '../../../base/errors.ts'
import type { Reader } from '../body.ts'
import { type Call, note } from '../call.ts'
import { invalid } from '../refuse.ts'
import { countMails, insertMailToken, noteMail, unnoteMail } from '../store/mail-tokens.ts'
import { userByEmail } from '../store/users.ts'
import { hashToken, randomToken } from '../tokens.ts'
import type { View } from '../views/keys.ts'

const TOKEN_MS = 3600_000
const DAY_MS = 86_400_000

export function onboardingBody(reader: Reader): { readonly email: string } {
  const email = reader.email('email')
  reader.done()
  if (email === null) throw invalid('email: expected')
  return { email }
}

export async function startOnboarding(call: Call, body: { readonly email: string }): Promise<View> {
  const { mailer, db, nowMs, settings } = call
  if (mailer === null)
    throw new GatewayError('API_UNSUPPORTED', { text: 'this repository sends no mail: ask its administrator' })
  if (!call.mailPeers.take(call.address, nowMs)) return {}
  const user = await userByEmail(db, body.email)
  if (user?.account === 1) return {}
  const sent = await countMails(db, body.email, 'onboarding', nowMs - DAY_MS)
  if (sent >= settings.onboardingPerAddressPerDay) return {}
  const token = randomToken()
  await insertMailToken(db, { hash: hashToken(token), email: body.email, expiresMs: nowMs + TOKEN_MS })
  await noteMail(db, { email: body.email, kind: 'onboarding' }, nowMs)
  if (user !== null) note(call, 'account.onboarding', `user:${user.id}`, [], user.id)
  // One that never came shall not use up the day's: a mail server that is down for an hour would cost a day.
  const takeBack = () => call.later((later) => unnoteMail(later, { email: body.email, kind: 'onboarding' }, nowMs))
  call.afterwards.push(() => mailer.onboarding(body.email, token, takeBack))
  return {}
}

/** Someone without an account was written to: they hear of it, at most once a day whoever writes. */
export async function inviteOwner(
  call: Call,
  owner: { email: string; account: number },
  sender: string,
): Promise<void> {
  const { mailer, db, nowMs } = call
  if (mailer === null || !call.settings.invite || owner.account === 1) return
  if ((await countMails(db, owner.email, 'invite', nowMs - DAY_MS)) > 0) return
  if (!call.mailSenders.take(sender, nowMs)) return
  await noteMail(db, { email: owner.email, kind: 'invite' }, nowMs)
  call.afterwards.push(() => mailer.invite(owner.email, sender))
}
