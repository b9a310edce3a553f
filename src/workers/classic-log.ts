/**
 * The log in the C program's lines (daemon.md §6), for rules and scripts that read those: `auth …` for each login,
 * `bytes …` for each session's end. Everything else is the event's name and its fields.
 */
import type { FaultCode } from '../base/errors.ts'
import { FAULTS } from '../base/errors.ts'
import type { Log, LogFields, LogLevel } from '../base/log.ts'

export interface LineSink {
  write(line: string): void
}

export interface ClassicLogParts {
  readonly sink: LineSink
  readonly level: LogLevel
  readonly host: string
  readonly pid: number
  readonly now: () => Date
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')
/** On each line already, or of no use in it. */
const OMITTED: readonly string[] = ['pid']

export function classicLog(parts: ClassicLogParts, fields: LogFields = {}): Log {
  return {
    write: (level, event, more = {}) => {
      if (ORDER.indexOf(level) < ORDER.indexOf(parts.level)) return
      const all = { ...fields, ...more }
      const prefix = `${stamp(parts.now())} ${parts.host} vesmail[${parts.pid}]: `
      parts.sink.write(`${prefix}${printEvent(event, all)}\n`)
    },
    child: (more) => classicLog(parts, { ...fields, ...more }),
  }
}

function printEvent(event: string, fields: LogFields): string {
  switch (event) {
    case 'login':
      return printLogin(fields)
    case 'bytes':
      return printBytes(fields)
    default:
      return [event.replace(/\s/g, '-'), ...Object.entries(fields).flatMap(printField)].join(' ')
  }
}

function printLogin(fields: LogFields): string {
  const code = faultNumber(fields.code)
  const outcome = fields.result === 'ok' ? 'OK' : fields.result === 'denied' ? 'DENIED' : `FAIL(${code})`
  const srv = `srv=[${safe(fields.local)}]:${safe(fields.localPort)}`
  const peer = `peer=[${safe(fields.peer)}]:${safe(fields.peerPort)}`
  return `auth ${outcome} proto=${safe(fields.service)} ${srv} ${peer} user=${safe(fields.account)}`
}

/** `cy`: milliseconds that the session lasted. */
function printBytes(fields: LogFields): string {
  const isFault = typeof fields.why === 'string' && fields.why in FAULTS
  const exit = isFault ? faultNumber(fields.why) : '0'
  const { fromClient, toClient, durationMs } = fields
  return (
    `bytes proto=${safe(fields.service)} exit=${exit} st=${safe(fields.why)} ` +
    `req=${safe(fromClient)} rsp=${safe(toClient)} cy=${safe(durationMs)}`
  )
}

/** `code.sub` of the XVES code. */
function faultNumber(code: LogFields[string]): string {
  const fault = typeof code === 'string' && code in FAULTS ? FAULTS[code as FaultCode] : null
  const xves = fault?.xves ?? '-5'
  return xves.includes('.') ? xves : `${xves}.0`
}

function printField([name, value]: [string, LogFields[string]]): string[] {
  if (value === undefined || value === null || OMITTED.includes(name)) return []
  return [`${name}=${safe(Array.isArray(value) ? value.join(',') : (value as string))}`]
}

/** One word: a client's name for itself must not look like the next field, or the next line. */
function safe(value: LogFields[string]): string {
  const text = value === undefined || value === null ? '' : String(value)
  return text.replace(/[\s\x00-\x1f\x7f%]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`).slice(0, 512)
}

/** `Nov  3 07:08:09`, local time, as syslog does. */
function stamp(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0')
  const day = String(date.getDate()).padStart(2, ' ')
  return `${MONTHS[date.getMonth()]} ${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}
