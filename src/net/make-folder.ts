/**
 * Folders that the configuration names. Node's own way to make those above as well asks for ever where the kernel says
 * that nothing is there of a folder that is (`/proc/x`): a process that starts there says nothing more.
 */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** With those above it, where they are not there. @param mode of all that are made. @throws Error of node:fs */
export function makeFolder(path: string, mode: number): void {
  if (isFolder(path)) return
  if (!isFolder(dirname(path)) && dirname(path) !== path) makeFolder(dirname(path), mode)
  try {
    mkdirSync(path, { mode })
  } catch (error) {
    // Another process of ours may have been first.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isFolder(path)) throw error
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return false
    throw error
  }
}
