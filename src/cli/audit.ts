/** `vesmail audit`: the key repository's log of every change, chained by hashes so that tampering shows. */
import { Command } from 'commander'
import { GatewayError } from '../base/errors.ts'
import { idAt, type JsonObject, objectsAt, optionalId } from '../ves/client/answer.ts'
import { type AdminOptions, accountPath, asAdmin, withAdmin } from './account-admin.ts'
import { UsageError } from './exit.ts'
import { printJson } from './options.ts'
import { printTable, timeText } from './table.ts'

interface ShowOptions extends AdminOptions {
  readonly after: string
  readonly limit: string
  readonly user?: string
}

const PAGE = 500

export function auditCommand(): Command {
  const command = new Command('audit').description("the key repository's log of every change")
  command.addCommand(
    withAdmin(new Command('show'))
      .description('who did what to which key, oldest first; never content')
      .option('--after <seq>', 'only later entries', '0')
      .option('--limit <n>', 'at most so many', '1000')
      .option('--user <email>', 'only about this account')
      .action(show),
  )
  command.addCommand(withAdmin(new Command('verify')).description('check the chain of hashes').action(verify))
  return command
}

async function show(options: ShowOptions): Promise<void> {
  const limit = numberOf(options.limit, '--limit')
  await asAdmin(options, async (ask) => {
    const about = options.user === undefined ? '' : `&user=${idAt(await ask({ path: accountPath(options.user) }))}`
    const entries: JsonObject[] = []
    let after: number | null = numberOf(options.after, '--after')
    while (after !== null && entries.length < limit) {
      const count = Math.min(PAGE, limit - entries.length)
      const page: JsonObject = await ask({ path: `admin/audit?after=${after}&limit=${count}${about}` })
      entries.push(...objectsAt(page, 'audit'))
      after = optionalId(page, 'next')
    }
    if (options.json === true) return printJson(entries)
    const rows = entries.map(({ seq, atMs, actor, action, subject, keys }) => [
      String(seq),
      timeText(atMs),
      text(actor),
      text(action),
      text(subject),
      Array.isArray(keys) ? keys.join(' ') : text(keys),
    ])
    printTable(['seq', 'time (UTC)', 'who', 'what', 'of', 'keys'], rows)
  })
}

async function verify(options: AdminOptions): Promise<void> {
  await asAdmin(options, async (ask) => {
    const result = await ask({ path: 'admin/audit/verify' })
    if (options.json === true) printJson(result)
    else if (result.ok === true) process.stdout.write(`${result.entries} entries, the chain holds\n`)
    if (result.ok !== true) {
      throw new GatewayError('VES_INCORRECT', {
        text: `the audit log was tampered with: entry ${result.seq} does not fit`,
      })
    }
  })
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : String(value)
}

function numberOf(given: string, name: string): number {
  const value = Number(given)
  if (!Number.isSafeInteger(value) || value < 0) throw new UsageError(`${name}: a number expected`)
  return value
}
