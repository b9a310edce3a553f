/**
 * The one error class of the gateway, and the table that says what each failure means.
 *
 * Code decides on `code`, never on text. The wire gets the table's answer only; `detail` and `cause` go to the log.
 * The numbers and texts after `XVES` are fixed: programs and people know them (daemon.md §6).
 */

/** Who has to act for this to go away. */
export type Blame = 'client' | 'upstream' | 'dependency' | 'operator' | 'us'

export interface Fault {
  readonly blame: Blame
  /** May the same request succeed later without anyone changing anything? */
  readonly retry: boolean
  /** `-n[.sub]` of `XVES-n[.sub] text`; null where no such code exists (plain protocol errors). */
  readonly xves: string | null
  /** Text for the user: says what to do. */
  readonly text: string
  /** SMTP reply code and enhanced code; during login see {@link loginReply}. */
  readonly smtp: string
  /** IMAP status and response code, e.g. `NO [UNAVAILABLE]`. */
  readonly imap: string
  readonly http: number
}

const fault = (
  blame: Blame,
  retry: boolean,
  xves: string | null,
  text: string,
  smtp: string,
  imap: string,
  http: number,
): Fault => ({ blame, retry, xves, text, smtp, imap, http })

const TEMP = '451 4.3.0'
const UNAVAILABLE = 'NO [UNAVAILABLE]'

export const FAULTS = {
  // daemon.md §6: the stable codes
  CONFIG_INVALID: fault(
    'operator',
    false,
    '-1',
    'Invalid parameters or VESmail configuration error',
    TEMP,
    UNAVAILABLE,
    500,
  ),
  BUFFER_EXCEEDED: fault('client', false, '-2', 'Buffer limit exceeded', '552 5.3.4', 'NO [LIMIT]', 413),
  VES_PARAMETER: fault('us', false, '-3.1', 'libVES: Parameter', TEMP, UNAVAILABLE, 500),
  VES_CONNECTION: fault('dependency', true, '-3.2', 'libVES: Connection', TEMP, UNAVAILABLE, 503),
  VES_PARSE: fault('dependency', true, '-3.3', 'libVES: Parse', TEMP, UNAVAILABLE, 502),
  VES_CRYPTO: fault('dependency', false, '-3.4', 'libVES: Crypto', '554 5.7.5', 'NO', 500),
  VES_UNLOCK: fault('client', false, '-3.5', 'libVES: Unlock', '535 5.7.8', 'NO [AUTHENTICATIONFAILED]', 401),
  VES_DENIED: fault('client', false, '-3.6', 'libVES: Denied', '550 5.7.1', 'NO [NOPERM]', 403),
  VES_NOT_FOUND: fault('client', false, '-3.7', 'libVES: Not found', '550 5.1.1', 'NO', 404),
  VES_SERVER: fault('dependency', true, '-3.8', 'libVES: Server', TEMP, UNAVAILABLE, 502),
  VES_UNSUPPORTED: fault('dependency', false, '-3.9', 'libVES: Unsupported', '554 5.7.5', 'NO', 500),
  VES_INCORRECT: fault('dependency', false, '-3.10', 'libVES: Incorrect', '554 5.7.5', 'NO', 500),
  VES_ASSERT: fault('us', false, '-3.11', 'libVES: Assert', TEMP, UNAVAILABLE, 500),
  VES_QUOTA: fault('operator', true, '-3.13', 'libVES: Quota', '452 4.3.1', 'NO [LIMIT]', 503),
  IO: fault('us', true, '-4', 'I/O error', TEMP, UNAVAILABLE, 500),
  BAD_CREDENTIALS: fault(
    'client',
    false,
    '-6',
    'Invalid VESmail credentials',
    '535 5.7.8',
    'NO [AUTHENTICATIONFAILED]',
    401,
  ),
  PROFILE_INVALID: fault(
    'client',
    false,
    '-7',
    'Invalid or missing VESmail profile object',
    '535 5.7.8',
    'NO [AUTHENTICATIONFAILED]',
    403,
  ),
  ACCESS_DENIED: fault('operator', false, '-8', 'Access denied', '535 5.7.8', 'NO [AUTHORIZATIONFAILED]', 403),
  UPSTREAM_DNS: fault(
    'upstream',
    true,
    '-16',
    'DNS error, check the hostname in the VESmail profile',
    TEMP,
    UNAVAILABLE,
    502,
  ),
  UPSTREAM_CONNECTION: fault(
    'upstream',
    true,
    '-17',
    'Connection error, check host & port in the VESmail profile',
    TEMP,
    UNAVAILABLE,
    502,
  ),
  UPSTREAM_TLS: fault('upstream', true, '-18', 'TLS error', TEMP, UNAVAILABLE, 502),
  SASL_SEQUENCE: fault(
    'client',
    false,
    '-19',
    'Incorrect SASL authentication sequence',
    '535 5.7.8',
    'NO [AUTHENTICATIONFAILED]',
    401,
  ),
  UPSTREAM_UNEXPECTED: fault(
    'upstream',
    true,
    '-20',
    'Unexpected response from the remote server',
    TEMP,
    UNAVAILABLE,
    502,
  ),
  ABUSE: fault('client', true, '-21', 'Abuse detected, try later', '421 4.7.0', 'NO', 503),
  OVERRIDE: fault('operator', true, '-22', 'Override', TEMP, UNAVAILABLE, 502),
  /** The provider said no; its own lines are relayed next to ours. */
  UPSTREAM_REFUSED: fault(
    'upstream',
    false,
    '-31',
    'Refused by the remote server',
    '535 5.7.8',
    'NO [AUTHENTICATIONFAILED]',
    403,
  ),
  /** The provider said no for now; its own lines are relayed next to ours. */
  UPSTREAM_BUSY: fault('upstream', true, '-31', 'Refused by the remote server', TEMP, UNAVAILABLE, 502),
  INTERNAL: fault('us', true, '-32', 'Internal error', TEMP, 'NO [SERVERBUG]', 500),
  STARTTLS_FIRST: fault('client', false, '-80', 'Denied, STARTTLS first', '530 5.7.11', 'NO [PRIVACYREQUIRED]', 426),

  // engine: a message that cannot be taken or given
  MIME_HEADER_TOO_LARGE: fault('client', false, null, 'Header block larger than 1 MiB', '552 5.3.4', 'NO [LIMIT]', 413),
  /** Ciphertext altered, truncated or sealed with another key. */
  SEAL_BROKEN: fault('upstream', false, '-3.4', 'libVES: Crypto: message altered or damaged', '554 5.7.5', 'NO', 500),
  /** The key is not shared with this user (yet). */
  ITEM_UNAVAILABLE: fault(
    'client',
    true,
    '-3.7',
    'libVES: Not found: no key for this message yet',
    '550 5.7.5',
    'NO',
    404,
  ),
  RECIPIENT_WITHOUT_VAULT: fault(
    'client',
    true,
    null,
    'The recipient has no VES account, so the message cannot be encrypted for them',
    '450 4.1.0',
    'NO',
    404,
  ),

  // key repository: what its HTTP API refuses by itself (denied, not found and quota are the VES_* ones)
  API_INVALID: fault('client', false, null, 'Invalid request', '501 5.5.4', 'BAD', 400),
  API_SESSION: fault('client', false, null, 'No valid session', '535 5.7.8', 'NO [AUTHENTICATIONFAILED]', 401),
  API_METHOD: fault('client', false, null, 'Method not allowed', '502 5.5.1', 'BAD', 405),
  API_TOO_LARGE: fault('client', false, null, 'Request too large', '552 5.3.4', 'NO [LIMIT]', 413),
  API_UNSUPPORTED: fault('client', false, null, 'Not supported by this repository', '502 5.5.1', 'NO [CANNOT]', 501),

  // wire protocols
  LINE_TOO_LONG: fault('client', false, null, 'Line too long', '500 5.5.6', 'BAD', 431),
  LITERAL_TOO_LARGE: fault('client', false, null, 'Literal too large', '552 5.3.4', 'NO [LIMIT]', 413),
  SMTP_SEQUENCE: fault('client', false, null, 'Bad sequence of commands', '503 5.5.1', 'BAD', 400),
  SMTP_PARAMETER_UNKNOWN: fault('client', false, null, 'Unsupported parameter', '555 5.5.4', 'BAD', 400),
  MESSAGE_TOO_LARGE: fault(
    'client',
    false,
    null,
    'Message too large for the provider once it is encrypted',
    '552 5.3.4',
    'NO [LIMIT]',
    413,
  ),
  EIGHT_BIT_UNSUPPORTED: fault('client', false, null, 'The provider takes no 8-bit mail', '554 5.6.3', 'NO', 415),
  SMTPUTF8_UNSUPPORTED: fault('client', false, null, 'The provider takes no UTF-8 addresses', '553 5.6.7', 'NO', 415),
  NO_RECIPIENTS: fault('client', false, null, 'No valid recipients', '554 5.5.1', 'NO', 400),
  TOO_MANY_RECIPIENTS: fault('client', false, null, 'Too many recipients', '452 4.5.3', 'NO [LIMIT]', 413),
  TLS_INJECTION: fault('client', false, null, 'Input after STARTTLS', '554 5.5.1', 'BYE', 400),
  SASL_CANCELLED: fault('client', false, null, 'Authentication cancelled', '501 5.7.0', 'BAD', 400),
  SYNTAX: fault('client', false, null, 'Syntax error', '501 5.5.4', 'BAD', 400),
  TIMEOUT: fault('client', true, null, 'Timeout', '421 4.4.2', 'BYE', 408),
  TOO_MANY: fault('client', true, null, 'Too many connections, try later', '421 4.7.0', 'BYE', 503),
  SHUTDOWN: fault('operator', true, null, 'Server restarting, reconnect', '421 4.3.2', 'BYE', 503),
} as const satisfies Record<string, Fault>

export type FaultCode = keyof typeof FAULTS

/** What a log line may show about a failure. Never a secret, subject or body. */
export type Detail = Readonly<Record<string, string | number | boolean | null>>

export class GatewayError extends Error {
  readonly code: FaultCode
  readonly detail: Detail

  /**
   * @param detail for the log only; `text` in it is appended to the wire text (so: no secrets, no foreign input
   *   but what the table's texts promise, e.g. the libVES message)
   */
  constructor(code: FaultCode, detail: Detail = {}, cause?: unknown) {
    super(`${code}: ${FAULTS[code].text}`, cause === undefined ? undefined : { cause })
    this.name = 'GatewayError'
    this.code = code
    this.detail = detail
  }

  get fault(): Fault {
    return FAULTS[this.code]
  }

  /** `XVES-6 Invalid VESmail credentials`: stable text for the client, one line, ASCII. */
  get wireText(): string {
    const { xves, text } = this.fault
    const extra = typeof this.detail.text === 'string' ? `: ${oneLine(this.detail.text)}` : ''
    const sub = xves === '-4' && typeof this.detail.errno === 'number' ? `.${this.detail.errno}` : ''
    return `${xves === null ? '' : `XVES${xves}${sub} `}${text}${extra}`
  }

  /** Reply code and enhanced code while logging in over SMTP (smtp.md §1). */
  get smtpLoginReply(): string {
    if (this.code === 'STARTTLS_FIRST') return this.fault.smtp
    return this.fault.retry || this.fault.blame === 'us' ? '454 4.7.0' : '535 5.7.8'
  }
}

/** Anything thrown, as a GatewayError: a bug becomes INTERNAL with its cause kept. */
export function asGatewayError(thrown: unknown): GatewayError {
  return thrown instanceof GatewayError ? thrown : new GatewayError('INTERNAL', {}, thrown)
}

/** For `switch` ends: the compiler proves that every case was handled. */
export function unreachable(x: never): never {
  throw new Error(`unreachable: ${String(x)}`)
}

function oneLine(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}

/** Of whatever was thrown, as it says itself; for logs and consoles, not for a peer. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
