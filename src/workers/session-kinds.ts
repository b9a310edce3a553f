/** Which engine speaks to the clients of which service. */
import type { Service } from '../base/config/config-file.ts'
import { GatewayError } from '../base/errors.ts'
import type { Session, SessionStart } from '../engine/session.ts'

export function sessionOf(service: Service, _start: SessionStart): Session {
  throw new GatewayError('INTERNAL', { reason: `no session of ${service} yet` })
}
