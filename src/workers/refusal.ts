/** A session that only says why it will not be one: too many, abuse, no certificate. The client gets a proper word. */

import type { Service } from '../base/config/config-file.ts'
import type { GatewayError } from '../base/errors.ts'
import type { Action, Session } from '../engine/session.ts'

export function refusalSession(service: Service, error: GatewayError): Session {
  const line = service === 'smtp' ? `421 ${enhanced(error)} ${error.wireText}\r\n` : `* BYE ${error.wireText}\r\n`
  return {
    start: (): Action[] => [
      { do: 'send', side: 'client', bytes: Buffer.from(line, 'latin1') },
      { do: 'close', why: error },
    ],
    step: () => [],
    wants: () => false,
  }
}

function enhanced(error: GatewayError): string {
  return /^421 (\d\.\d+\.\d+)/.exec(error.fault.smtp)?.[1] ?? '4.3.2'
}
