/** Which engine speaks to the clients of which service, and how their messages are sealed and opened. */
import type { Service } from '../base/config/config-file.ts'
import { GatewayError } from '../base/errors.ts'
import { ImapSession } from '../engine/imap/imap-session.ts'
import { sealTransforms } from '../engine/imap/seal-transforms.ts'
import { Sealer } from '../engine/seal/sealer.ts'
import type { Session, SessionStart } from '../engine/session.ts'
import type { MailSettings } from '../engine/settings.ts'
import { SmtpSession } from '../engine/smtp/smtp-session.ts'
import type { Transform } from '../engine/transform.ts'

export function sessionOf(service: Service, start: SessionStart): Session {
  switch (service) {
    case 'smtp':
      return new SmtpSession(start, { makeSealer: (_, account) => sealer(start, account.settings) })
    case 'imap':
      return new ImapSession(start, sealTransforms(start))
    case 'now':
      throw new GatewayError('INTERNAL', { reason: 'HTTP has no session' })
  }
}

/** Of submitted mail. */
function sealer(start: SessionStart, settings: MailSettings): Transform {
  return new Sealer({
    random: start.random,
    idBase: `.VESmail@${start.host}`,
    settings,
    totalOctets: null,
    addedIdStays: true,
  })
}
