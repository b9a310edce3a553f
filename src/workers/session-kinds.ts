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

/** Told what goes into messages' sealing and opening. */
export interface MessageTally {
  sealing(service: Service, octets: number): void
  opening(service: Service, octets: number): void
}

export function sessionOf(service: Service, start: SessionStart, tally: MessageTally): Session {
  const sealing = <T extends Transform>(transform: T): T =>
    counted(transform, (octets) => tally.sealing(service, octets))
  const opening = <T extends Transform>(transform: T): T =>
    counted(transform, (octets) => tally.opening(service, octets))
  switch (service) {
    case 'smtp':
      return new SmtpSession(start, { makeSealer: (_, account) => sealing(sealer(start, account.settings)) })
    case 'imap': {
      const make = sealTransforms(start)
      return new ImapSession(start, (settings) => {
        const { opener, outliner, sealer } = make(settings)
        return {
          opener: () => opening(opener()),
          outliner: (leaf) => opening(outliner(leaf)),
          sealer: (octets, padded) => sealing(sealer(octets, padded)),
        }
      })
    }
    case 'now':
      throw new GatewayError('INTERNAL', { reason: 'HTTP has no session' })
  }
}

function counted<T extends Transform>(transform: T, count: (octets: number) => void): T {
  const push = transform.push.bind(transform)
  transform.push = (bytes) => {
    count(bytes.length)
    return push(bytes)
  }
  return transform
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
