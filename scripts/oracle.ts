/**
 * The oracle (imap.md §1): a message in plain and the same message through the gateway must answer every FETCH alike.
 *
 *   node scripts/oracle.ts [--direct host:port:user:pass --gateway host:port:user:pass]
 *                          [--sizes auto|exact|estimate] [--json OUT] FILES…
 *   node scripts/oracle.ts --view --direct host:port:user:pass FILES…      the view alone, without a gateway
 *
 * Exit 0 only if all is the same.
 */
import { parseArgs } from 'node:util'
import { parseAddress } from './oracle/imap-connection.ts'
import { expandFiles } from './oracle/messages.ts'
import { Report } from './oracle/report.ts'
import { runView } from './oracle/view-run.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    direct: { type: 'string' },
    gateway: { type: 'string' },
    sizes: { type: 'string', default: 'exact' },
    json: { type: 'string' },
    view: { type: 'boolean', default: false },
    shown: { type: 'string', default: '20' },
  },
})

const files = await expandFiles(positionals)
const report = new Report(Number(values.shown))
if (values.view && values.direct !== undefined) await runView(parseAddress(values.direct), files, report)
report.print()
if (values.json !== undefined) report.write(values.json)
process.exitCode = report.holds ? 0 : 1
