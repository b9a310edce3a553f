/** Runs tests over every implementation that this machine has: JavaScript, and the native addon where it was built. */
import { describe } from 'node:test'
import { type FastPath, fastPath, javascriptPath, nativePath, useFastPath } from '../../../src/engine/seal/native.ts'

export const PATHS: readonly FastPath[] = [javascriptPath('test'), nativePath()].filter((path) => path !== null)

/** The tests that `body` registers run once on each path. */
export function onEachPath(name: string, body: (path: FastPath) => void): void {
  for (const path of PATHS) describe(`${name} (${path.kind})`, () => body(path))
}

/** Calls `run` with `path` in force. */
export function inForce<T>(path: FastPath, run: () => T): T {
  const before = fastPath()
  useFastPath(path)
  try {
    return run()
  } finally {
    useFastPath(before)
  }
}
