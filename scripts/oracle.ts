/**
 * The oracle (imap.md §1): a message in plain and the same message through the gateway must answer every FETCH alike.
 *
 *   npm run oracle -- [--direct host:port:user:pass --gateway host:port:user:pass]
 *                     [--sizes auto|exact|estimate] [--json OUT] [FILES…]
 *   node scripts/oracle.ts --view --direct host:port:user:pass FILES…      the view alone, without a gateway
 *
 * Without addresses it starts its own servers; without files it takes the messages written for it (`OWN_MESSAGES`). Exit 0 only if all is the same. `--shown N`: differences on
 * the screen; `--keep`: leave the servers' folder.
 */
import { argumentsOf } from './arguments.ts'
import { runGateway } from './oracle/gateway-run.ts'
import { parseAddress } from './oracle/imap-connection.ts'
import { expandFiles, OWN_MESSAGES } from './oracle/messages.ts'
import { type Servers, startServers } from './oracle/own-servers.ts'
import { Report } from './oracle/report.ts'
import { runView } from './oracle/view-run.ts'

const { values, positionals } = argumentsOf(
  'npm run oracle -- [--direct HOST:PORT:USER:PASS --gateway HOST:PORT:USER:PASS] [--sizes auto|exact|estimate] [--json OUT] [--shown N] [--keep] [FILES…]',
  {
    direct: { type: 'string' },
    gateway: { type: 'string' },
    sizes: { type: 'string', default: 'exact' },
    json: { type: 'string' },
    view: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    shown: { type: 'string', default: '20' },
  },
)

const files = await expandFiles(positionals.length === 0 ? [OWN_MESSAGES] : positionals)
const report = new Report(Number(values.shown))
const { direct, gateway, sizes } = values
if (!['auto', 'exact', 'estimate'].includes(sizes)) fail(`--sizes ${sizes}: auto, exact or estimate`)
if (files.length === 0) fail('no messages given')
if (gateway !== undefined && direct === undefined) fail('--gateway needs --direct')

if (values.view && direct !== undefined) await runView(parseAddress(direct), files, report)
else if (direct !== undefined && gateway !== undefined) {
  await measured({ direct: parseAddress(direct), gateway: parseAddress(gateway), sizes })
} else {
  const servers = await startServers(sizes, values.keep)
  try {
    await measured({ direct: servers.direct, gateway: servers.gateway, sizes }, servers)
  } finally {
    await servers.stop()
  }
}
report.print()
if (values.json !== undefined) report.write(values.json)
process.exitCode = report.holds ? 0 : 1

async function measured(run: Parameters<typeof runGateway>[0], servers?: Servers): Promise<void> {
  const { directOctets, gatewayOctets, directMs, gatewayMs } = await runGateway(run, files, report)
  console.log(`octets to the client: direct ${directOctets}, through the gateway ${gatewayOctets}`)
  const each = (ms: number): string => (ms / Math.max(report.questions, 1)).toFixed(2)
  console.log(`ms a question: direct ${each(directMs)}, through the gateway ${each(gatewayMs)}`)
  if (servers === undefined) return
  const { octetsUp, octetsDown, roundTrips } = servers.relay
  const perQuestion = report.questions === 0 ? 0 : roundTrips / report.questions
  console.log(
    `at the provider: ${octetsDown} octets from it (${(octetsDown / directOctets).toFixed(2)} times direct), ${octetsUp} to it`,
  )
  console.log(`round trips there: ${roundTrips}, ${perQuestion.toFixed(2)} a question`)
}

function fail(message: string): never {
  console.error(`oracle: ${message}`)
  process.exit(1)
}
