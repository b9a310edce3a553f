/** Can the addresses be listened on? All at once, as the daemon would: two that exclude each other are found, too. */
import { createServer, type Server } from 'node:net'
import type { ConfigFile } from '../../base/config/config-file.ts'
import { programConfig } from '../../base/config/merge.ts'
import { layersOf, whereDaemon, whereSet } from '../../base/config/places.ts'
import { holdersOf } from './port-holder.ts'
import { listenerName, type Report } from './report.ts'

interface Wanted {
  /** Of the configuration. */
  readonly where: string
  readonly name: string
  readonly host: string | null
  readonly port: number
}

export async function checkPorts(file: ConfigFile, report: Report): Promise<void> {
  const open = new Map<Wanted, Server>()
  for (const wanted of wantedBy(file)) await checkPort(wanted, open, report)
  for (const server of open.values()) server.close()
}

function wantedBy(file: ConfigFile): Wanted[] {
  const config = programConfig(file)
  const daemons = file.daemons.map((entry) => ({
    where: whereDaemon(file, entry),
    name: listenerName(entry),
    host: entry.host,
    port: entry.port,
  }))
  const others = (['admin.listen', 'repository.listen'] as const).flatMap((option) => {
    const at = config[option]
    const name = `${option.split('.')[0]} ${at?.host}:${at?.port}`
    return at === null ? [] : [{ where: whereSet(option, layersOf(file, null)), name, ...at }]
  })
  return [...daemons, ...others]
}

function checkPort(wanted: Wanted, open: Map<Wanted, Server>, report: Report): Promise<void> {
  const { where, name, host, port } = wanted
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      tellFailure(wanted, error, [...open.keys()], report)
      resolve()
    })
    server.listen(host === null ? { port } : { host, port }, () => {
      open.set(wanted, server)
      report.tell('ok', `${where}: ${name}: the port is free`)
      resolve()
    })
  })
}

function tellFailure(
  { where, name, host, port }: Wanted,
  error: NodeJS.ErrnoException,
  open: Wanted[],
  report: Report,
): void {
  const here = `${where}: ${name}`
  switch (error.code) {
    case 'EADDRINUSE': {
      const other = open.find((one) => one.port === port)
      if (other !== undefined)
        report.tell('FAIL', `${here}: excludes ${other.name} (${other.where}): take one of them away`)
      else tellHolders(here, port, report)
      break
    }
    case 'EACCES':
      report.tell('FAIL', `${here}: ports below 1024 need a privilege: run this as root (vesmail.service has it)`)
      break
    case 'EADDRNOTAVAIL':
      report.tell('FAIL', `${here}: this machine has no address ${host}: correct host, or bring the address up`)
      break
    default:
      report.tell('FAIL', `${here}: cannot listen: ${error.code ?? error.message}`)
  }
}

function tellHolders(here: string, port: number, report: Report): void {
  const holders = holdersOf(port)
  const gateway = holders.find(({ isGateway }) => isGateway)
  if (gateway !== undefined) report.tell('ok', `${here}: the running gateway listens there (process ${gateway.pid})`)
  else if (holders.some(({ pid }) => pid === 1)) report.tell('ok', `${here}: systemd holds the port for a socket unit`)
  else if (holders.length === 0) {
    report.tell(
      'warn',
      `${here}: the port is in use, by whom only root can see: the running gateway, or something to be stopped first`,
    )
  } else {
    const names = holders.map(({ name, pid }) => `${name} (process ${pid})`).join(', ')
    report.tell('FAIL', `${here}: the port is in use by ${names}: stop that, or choose another port`)
  }
}
