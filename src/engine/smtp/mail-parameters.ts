/**
 * Parameters of MAIL and RCPT (RFC 5321 §4.1.1.11) on their way to a provider that may know fewer extensions than we
 * offered before we knew it (smtp.md §1): what it lacks is made good, dropped, or refused before the client uploads.
 */
import { GatewayError } from '../../base/errors.ts'
import type { SealMode } from '../account.ts'
import { type Capabilities, sealedOctets } from './capabilities.ts'
import type { Parameter, PathCommand } from './command.ts'
import { Envelope, parameter } from './envelope.ts'

const MAIL_KNOWN = ['SIZE', 'BODY', 'SMTPUTF8', 'RET', 'ENVID', 'AUTH']
const RCPT_KNOWN = ['NOTIFY', 'ORCPT']
/** Our Received, in a message that is not sealed. */
const TRACE_OCTETS = 512

export interface MailPlan {
  readonly envelope: Envelope
  readonly parameters: readonly Parameter[]
}

/**
 * @param sizeLimit octets of a plain message, configured; null = none
 * @throws GatewayError SMTP_PARAMETER_UNKNOWN, SYNTAX, MESSAGE_TOO_LARGE, EIGHT_BIT_UNSUPPORTED, SMTPUTF8_UNSUPPORTED
 */
export function planMail(
  mail: PathCommand,
  mode: SealMode,
  provider: Capabilities,
  sizeLimit: number | null,
): MailPlan {
  refuseUnknown(mail.parameters, MAIL_KNOWN)
  const parameters: Parameter[] = []
  const sealed = mode !== 'PLAIN'

  const size = parameter(mail.parameters, 'SIZE')
  let declaredOctets: number | null = null
  if (size !== null) {
    // RFC 1870 §4 allows twenty digits: no such message goes anywhere, and numbers are whole below 2^53 only.
    if (!/^[0-9]{1,20}$/.test(size.value ?? '')) throw new GatewayError('SYNTAX', { reason: 'SIZE' })
    declaredOctets = Number(size.value)
    if (declaredOctets >= 1e15) throw new GatewayError('MESSAGE_TOO_LARGE', { declaredOctets })
    const octets = sealed ? sealedOctets(declaredOctets) : declaredOctets + TRACE_OCTETS
    const limit = provider.size ?? 0
    if ((sizeLimit !== null && declaredOctets > sizeLimit) || (limit > 0 && octets > limit)) {
      throw new GatewayError('MESSAGE_TOO_LARGE', { declaredOctets })
    }
    if (provider.size !== null) parameters.push({ name: 'SIZE', value: String(octets) })
  }

  const body = parameter(mail.parameters, 'BODY')?.value?.toUpperCase() ?? null
  if (body !== null && body !== '7BIT' && body !== '8BITMIME') {
    throw new GatewayError('SMTP_PARAMETER_UNKNOWN', { parameter: 'BODY' })
  }
  const lacks8Bit = body === '8BITMIME' && !provider.eightBitMime
  if (lacks8Bit && !sealed) throw new GatewayError('EIGHT_BIT_UNSUPPORTED')
  if (body !== null && provider.eightBitMime) parameters.push({ name: 'BODY', value: body })

  const smtpUtf8 = parameter(mail.parameters, 'SMTPUTF8') !== null
  const needsUtf8 = smtpUtf8 || /[^\x00-\x7f]/.test(mail.path.text)
  if (needsUtf8 && !provider.smtpUtf8) throw new GatewayError('SMTPUTF8_UNSUPPORTED')
  if (smtpUtf8) parameters.push({ name: 'SMTPUTF8', value: null })

  for (const name of ['RET', 'ENVID']) {
    const dsn = parameter(mail.parameters, name)
    if (dsn !== null && provider.dsn) parameters.push(dsn)
  }
  const auth = parameter(mail.parameters, 'AUTH')
  if (auth !== null && provider.auth !== null) parameters.push(auth)
  return { envelope: new Envelope(mode, { smtpUtf8, mustBeSevenBit: lacks8Bit, declaredOctets }), parameters }
}

/** @throws GatewayError SMTP_PARAMETER_UNKNOWN, SMTPUTF8_UNSUPPORTED */
export function planRecipient(rcpt: PathCommand, provider: Capabilities): readonly Parameter[] {
  refuseUnknown(rcpt.parameters, RCPT_KNOWN)
  if (/[^\x00-\x7f]/.test(rcpt.path.text) && !provider.smtpUtf8) throw new GatewayError('SMTPUTF8_UNSUPPORTED')
  return provider.dsn ? rcpt.parameters : []
}

/** A parameter of an extension that we do not offer is a promise that nobody would keep. */
function refuseUnknown(parameters: readonly Parameter[], known: readonly string[]): void {
  const unknown = parameters.find(({ name }) => !known.includes(name))
  if (unknown !== undefined) throw new GatewayError('SMTP_PARAMETER_UNKNOWN', { parameter: unknown.name })
}
