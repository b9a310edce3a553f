/** The real sealer and opener of an IMAP session (message-format.md §4, §5; APPEND adds neither Xchg nor Verify). */
import { Opener } from '../seal/opener.ts'
import { Sealer } from '../seal/sealer.ts'
import type { SessionStart } from '../session.ts'
import type { MakeTransforms } from './transforms.ts'

export function sealTransforms(start: Pick<SessionStart, 'host' | 'random'>): MakeTransforms {
  return (settings) => ({
    opener: () => new Opener({ maxbufOctets: settings.maxbufOctets }),
    outliner: (outline) => new Opener({ maxbufOctets: settings.maxbufOctets, outline }),
    sealer: (octets, padded) =>
      new Sealer({
        random: start.random,
        idBase: `.VESmail@${start.host}`,
        settings,
        totalOctets: octets,
        padded,
        addedIdStays: false,
      }),
  })
}
