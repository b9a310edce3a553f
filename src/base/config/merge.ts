/**
 * The options in force somewhere: blocks laid over each other, the later wins, `null` unsets (daemon.md §1):
 * `*` < service < daemon < the host file's `*` < the host file's service.
 */
import type { Block, ConfigFile, DaemonEntry } from './config-file.ts'
import { type Config, DEFAULTS, type OptionName } from './options.ts'

export function mergeBlocks(...blocks: readonly Block[]): Config {
  return layOver(DEFAULTS, ...blocks)
}

/** For the program itself: `*` only. */
export function programConfig(file: ConfigFile): Config {
  return mergeBlocks(file.all)
}

/** For one listener. */
export function daemonConfig(file: ConfigFile, daemon: DaemonEntry): Config {
  return mergeBlocks(file.all, file.services[daemon.service], daemon.options)
}

/** For a client that named a host with a file of its own. */
export function hostConfig(file: ConfigFile, daemon: DaemonEntry, host: ConfigFile): Config {
  return mergeBlocks(file.all, file.services[daemon.service], daemon.options, host.all, host.services[daemon.service])
}

function layOver(base: Config, ...blocks: readonly Block[]): Config {
  const merged: Record<string, unknown> = { ...base }
  for (const block of blocks) {
    for (const [name, given] of block) merged[name] = given === null ? base[name] : given.value
  }
  return Object.freeze(merged) as Config
}

/** Was this option set by any of the blocks (and not unset after)? */
export function isSet(name: OptionName, ...blocks: readonly Block[]): boolean {
  let set = false
  for (const block of blocks) if (block.has(name)) set = block.get(name) !== null
  return set
}
