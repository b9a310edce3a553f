/**
 * May the account that the service runs as read and write what the configuration names? Root may everything, so the
 * kernel is asked as that account (setpriv(1), with its groups). What a unit's sandbox forbids on top is not seen here.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { ConfigFile } from '../../base/config/config-file.ts'
import { daemonConfig, programConfig } from '../../base/config/merge.ts'
import type { OptionName } from '../../base/config/options.ts'
import { layersOf, whereSet } from '../../base/config/places.ts'
import { DEFAULT_STATE_DIRECTORY, stateDirectory } from '../../workers/compose.ts'
import type { Report } from './report.ts'

/** As the Debian package makes it. */
const SERVICE_USER = 'vesmail'
/** Two words each: `-r` or `-w`, and a path. A folder that may not be entered is of no use. */
const ASK =
  'while [ $# -gt 0 ]; do if test "$1" "$2" && { test ! -d "$2" || test -x "$2"; }; then echo y; else echo n; fi; shift 2; done'

interface Need {
  readonly where: string
  /** What has to be there; may not be yet, where it is written. */
  readonly path: string
  readonly access: 'read' | 'write'
  /** A folder is told of when all is well, too. */
  readonly isFolder: boolean
  /** A file whose folder nobody makes. */
  readonly needsFolder?: true
}

interface Account {
  readonly name: string
  readonly group: string
}

/** @param user null: as ourselves; undefined: the package's, where we may look as it */
export function checkRights(file: ConfigFile, report: Report, user: string | null | undefined): void {
  const account = accountOf(user, report)
  const needs = needsOf(file)
  const answers = ask(needs, account, report)
  const seen = new Set<string>()
  for (const [i, need] of needs.entries()) {
    const { where, path, access, isFolder, needsFolder } = need
    const told = `${access} ${path}`
    if (seen.has(told)) continue
    seen.add(told)
    const there = existing(path)
    const isBelow = there !== resolve(path)
    if ((isFolder || isBelow) && !isDirectory(there)) {
      report.tell('FAIL', `${where}: ${there} is no directory: name another`)
    } else if (!isFolder && !isBelow && isDirectory(there)) {
      report.tell('FAIL', `${where}: ${path} is a directory: name a file`)
    } else if (needsFolder && !existsSync(dirname(path))) {
      report.tell('FAIL', `${where}: ${dirname(path)} does not exist: make it, or name another file`)
    } else if (answers[i] === false) tellRefused(need, account, report)
    else if (isFolder && !existsSync(path)) report.tell('ok', `${where}: ${path} is made when it is needed`)
    else if (isFolder) report.tell('ok', `${where}: ${path} can be written${by(account)}`)
  }
}

function tellRefused({ where, path, access, isFolder }: Need, account: Account | null, report: Report): void {
  const owner = account?.name ?? SERVICE_USER
  if (access === 'read') {
    report.tell(
      'FAIL',
      `${where}: ${path} cannot be read${by(account)}: chgrp ${owner}, chmod 640, and look at its folders`,
    )
  } else if (existsSync(path)) {
    report.tell('FAIL', `${where}: ${path} cannot be written${by(account)}: chown ${owner}, or name another`)
  } else if (path === DEFAULT_STATE_DIRECTORY || path.startsWith(`${DEFAULT_STATE_DIRECTORY}/`)) {
    report.tell(
      'warn',
      `${where}: ${path} does not exist: vesmail.service makes it; elsewhere: install -d -m 700 -o ${owner} ${path}`,
    )
  } else {
    const make = isFolder ? path : dirname(path)
    report.tell('FAIL', `${where}: ${path} cannot be made${by(account)}: install -d -m 700 -o ${owner} ${make}`)
  }
}

function by(account: Account | null): string {
  return account === null ? '' : ` by user ${account.name}`
}

function needsOf(file: ConfigFile): Need[] {
  const config = programConfig(file)
  const program = layersOf(file, null)
  const needs: Need[] = [{ where: file.file, path: resolve(file.file), access: 'read', isFolder: false }]
  const add = (where: string, path: string | null, access: Need['access'], isFolder = false): void => {
    // A file that is to be read and is not there is told of by whoever looks into it.
    if (path !== null && (access === 'write' || existsSync(path))) needs.push({ where, path, access, isFolder })
  }
  const set = (name: OptionName): string => whereSet(name, program)
  const state = stateDirectory(config)
  add(set('state'), state, 'write', true)
  for (const name of ['state.sqlite', 'state.sqlite-wal', 'state.sqlite-shm']) {
    if (existsSync(`${state}/${name}`)) add(set('state'), `${state}/${name}`, 'write')
  }
  const { log } = config
  if (log !== null) needs.push({ where: set('log'), path: log, access: 'write', isFolder: false, needsFolder: true })
  add(set('ves.caBundle'), config['ves.caBundle'], 'read')
  for (const [i, path] of (config['oauth-key'] ?? []).entries()) {
    add(set('oauth-key'), path, i === 0 && !existsSync(path) ? 'write' : 'read')
  }
  if (config['repository.listen'] !== null && config['repository.store'] === 'sqlite') {
    add(set('repository.data'), config['repository.data'] ?? `${DEFAULT_STATE_DIRECTORY}/repository`, 'write', true)
  }
  for (const entry of file.daemons) {
    const one = daemonConfig(file, entry)
    const layers = layersOf(file, entry)
    for (const name of ['tls.cert', 'tls.pkey', 'caBundle', 'now.s3.credentials', 'now.s3.caBundle'] as const) {
      add(whereSet(name, layers), one[name], 'read')
    }
    if (one['now.s3.bucket'] === null) add(whereSet('now.dir', layers), one['now.dir'], 'write', true)
  }
  return needs
}

/** @returns for each whether it may; null where nobody could be asked */
function ask(needs: readonly Need[], account: Account | null, report: Report): readonly (boolean | null)[] {
  const words = needs.map(({ path, access }) => [access === 'read' ? '-r' : '-w', existing(path)] as const)
  if (account === null) return words.map(([access, path]) => mayOurselves(access, path))
  const { stdout, error } = spawnSync(
    'setpriv',
    ['--reuid', account.name, '--regid', account.group, '--init-groups', 'sh', '-c', ASK, 'sh', ...words.flat()],
    { encoding: 'utf8', cwd: '/' },
  )
  const answers = (stdout ?? '').trim().split('\n')
  if (error === undefined && answers.length === needs.length) return answers.map((answer) => answer === 'y')
  report.tell('warn', `files were not looked at as user ${account.name}: setpriv (util-linux) does not work here`)
  return needs.map(() => null)
}

function mayOurselves(access: '-r' | '-w', path: string): boolean {
  try {
    accessSync(path, (access === '-r' ? constants.R_OK : constants.W_OK) | (isDirectory(path) ? constants.X_OK : 0))
    return true
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}

/** The path, or the nearest folder above that is there: what is missing would be made in it. */
function existing(path: string): string {
  let at = resolve(path)
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  return at
}

function isDirectory(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory()
}

/** @returns null: we ask for ourselves */
function accountOf(user: string | null | undefined, report: Report): Account | null {
  if (user === null) return null
  const name = user ?? SERVICE_USER
  const group = idOf('-g', name)
  if (group === null) {
    if (user !== undefined) report.tell('FAIL', `--user ${name}: there is no such user`)
    return null
  }
  if (process.getuid?.() === 0) return { name, group }
  if (idOf('-u', name) !== String(process.getuid?.())) {
    report.tell('warn', `rights to files are those of whoever runs this: run it as root to learn those of user ${name}`)
  }
  return null
}

function idOf(what: '-u' | '-g', name: string): string | null {
  const { stdout, status } = spawnSync('id', [what, '--', name], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return status === 0 ? stdout.trim() : null
}
