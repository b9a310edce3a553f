/**
 * A Ceph of the tests' own with its S3 gateway: one monitor, one store in memory, radosgw, all on loopback and in a
 * temporary folder. Unlike s3rver it honours conditions on a write, drops uploads in parts and lists them. Needs root and
 * the packages radosgw, ceph-mon and ceph-osd. No authentication within: who reaches its ports is on this machine.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './gateway.ts'

export interface LabRadosGateway {
  readonly endpoint: string
  /** Of a user who may make buckets. */
  readonly accessKeyId: string
  readonly secretAccessKey: string
  stop(): Promise<void>
}

const MiB = 1024 * 1024
const run = promisify(execFile)
/** A tool that waits for a daemon waits for ever. */
const TOOL_MS = 60_000
const START_TRIES = 600
const TRY_EVERY_MS = 100

export async function startRadosGateway(): Promise<LabRadosGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-ceph-'))
  const cluster = randomUUID()
  const [monPort, port] = [await freePort(), await freePort()]
  const monitor = `[v2:127.0.0.1:${monPort}]`
  const file = join(folder, 'ceph.conf')
  for (const name of ['mon', 'osd', 'rgw']) mkdirSync(join(folder, name))
  writeFileSync(file, configuration({ folder, cluster, monitor, port }))
  const daemons: ChildProcess[] = []
  const daemon = (program: string, ...args: string[]): void => {
    daemons.push(spawn(program, ['-f', '-c', file, ...args], { cwd: folder, stdio: 'ignore' }))
  }
  const tool = async (program: string, ...args: string[]): Promise<string> => {
    const { stdout } = await run(program, args, { cwd: folder, timeout: TOOL_MS, maxBuffer: MiB })
    return stdout.trim()
  }
  const stop = async (): Promise<void> => {
    // Nothing of it is kept, so none is asked to put its things in order.
    const running = daemons.filter(({ exitCode, signalCode, pid }) => pid && exitCode === null && signalCode === null)
    const gone = running.map((child) => once(child, 'exit'))
    for (const child of running) child.kill('SIGKILL')
    await Promise.all(gone)
    rmSync(folder, { recursive: true, force: true })
  }

  try {
    const keys = join(folder, 'keyring')
    const map = join(folder, 'monmap')
    // The monitor wants a key of its own even where nobody is asked for one.
    await tool('ceph-authtool', '--create-keyring', keys, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *')
    await tool('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', monitor, map)
    await tool('ceph-mon', '-c', file, '--mkfs', '-i', 'a', '--monmap', map, '--keyring', keys)
    daemon('ceph-mon', '-i', 'a')
    const store = randomUUID()
    const id = await tool('ceph', '-c', file, 'osd', 'new', store)
    await tool('ceph-osd', '-c', file, '-i', id, '--mkfs', '--osd-uuid', store)
    daemon('ceph-osd', '-i', id)
    await tool('ceph', '-c', file, 'osd', 'crush', 'add', `osd.${id}`, '1', 'root=default', 'host=lab')
    daemon('radosgw', '-n', 'client.admin', '--keyring', keys)
    const endpoint = `http://127.0.0.1:${port}`
    await answers(endpoint, daemons)
    const access = { accessKeyId: 'LABKEY', secretAccessKey: randomUUID() }
    const given = ['--access-key', access.accessKeyId, '--secret-key', access.secretAccessKey]
    await tool('radosgw-admin', '-c', file, 'user', 'create', '--uid=lab', '--display-name=lab', ...given)
    return { endpoint, ...access, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function answers(endpoint: string, daemons: readonly ChildProcess[]): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await (await fetch(endpoint)).arrayBuffer()
      return
    } catch (error) {
      const dead = daemons.find(({ exitCode }) => exitCode !== null)
      if (tries === START_TRIES || dead !== undefined) throw error
      await new Promise((later) => setTimeout(later, TRY_EVERY_MS))
    }
  }
}

interface Place {
  readonly folder: string
  readonly cluster: string
  readonly monitor: string
  readonly port: number
}

/** One copy of everything, few groups of it, no manager, and no complaints about that. */
function configuration({ folder, cluster, monitor, port }: Place): string {
  return `[global]
fsid = ${cluster}
mon host = ${monitor}
mon initial members = a
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
# radosgw would insist on a secure connection to the monitor, which there is none of without authentication.
ms mon client mode = crc
osd objectstore = memstore
memstore device bytes = ${1024 * MiB}
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon data = ${folder}/mon
osd data = ${folder}/osd
rgw data = ${folder}/rgw
keyring = ${folder}/keyring
run dir = ${folder}
admin socket = ${folder}/$name.asok
pid file = ${folder}/$name.pid
log file = ${folder}/$name.log
rgw frontends = beast endpoint=127.0.0.1:${port}
rgw thread pool size = 32
`
}
