/**
 * Makes the viewer's files: the page, its worker and the frame for HTML mail, each bundled with what it needs of this
 * tree and of the libraries, under names that change with their content. Made once and kept in `build/viewer`; made
 * again where a source has changed, and in memory alone where that folder is not ours to write.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BuildOptions } from 'esbuild'

export interface ViewerFile {
  readonly type: string
  readonly body: Buffer
}

/** By path below `/now/`; the page itself is `index.html`. */
export type ViewerFiles = ReadonlyMap<string, ViewerFile>

interface Kept {
  /** Files that went into it, below the root, and a hash of their content. */
  readonly inputs: readonly string[]
  readonly hash: string
  readonly files: Readonly<Record<string, { readonly type: string; readonly base64: string }>>
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const KEPT = 'build/viewer/viewer.json'
const PAGE = 'src/viewer/page'
const STAND_IN = './src/viewer/stand-in'
const TYPES = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', html: 'text/html; charset=utf-8' }
/** Browsers that have what the page uses. */
const BROWSERS = ['chrome111', 'firefox115', 'safari16.4']

/** @throws Error where a source is not there or does not compile */
export function viewerFiles(): ViewerFiles {
  const kept = readKept()
  if (kept !== null) return filesOf(kept)
  const made = build()
  keep(made)
  return filesOf(made)
}

/** What the worker uses of Node, through the engine. */
const FOR_THE_ENGINE: BuildOptions = {
  alias: {
    'node:crypto': `${STAND_IN}/crypto.ts`,
    'node:zlib': `${STAND_IN}/zlib.ts`,
    'node:util': `${STAND_IN}/util.ts`,
    'node:module': `${STAND_IN}/module.ts`,
    undici: `${STAND_IN}/undici.ts`,
  },
  inject: [`${STAND_IN}/buffer.ts`],
  // Where the engine would look for its addon; there is none.
  define: { 'import.meta.url': '""' },
}

function bundled(names: readonly string[], more: BuildOptions) {
  // Only now: where the files are there already, nobody needs it.
  const { buildSync } = createRequire(import.meta.url)('esbuild') as typeof import('esbuild')
  return buildSync({
    ...more,
    absWorkingDir: ROOT,
    entryPoints: names.map((name) => `${PAGE}/${name}`),
    entryNames: '[name]-[hash]',
    outdir: 'out',
    bundle: true,
    minify: true,
    format: 'iife',
    platform: 'browser',
    target: BROWSERS,
    write: false,
    metafile: true,
    logLevel: 'silent',
  })
}

function build(): Kept {
  const made = [bundled(['main.ts', 'frame.ts', 'style.css'], {}), bundled(['worker.ts'], FOR_THE_ENGINE)]
  const files: Record<string, { type: string; base64: string }> = {}
  const names: Record<string, string> = {}
  for (const { path, contents } of made.flatMap(({ outputFiles }) => outputFiles)) {
    const name = basename(path)
    names[name.replace(/-[A-Z0-9]{8}\./, '.')] = name
    files[name] = {
      type: name.endsWith('.css') ? TYPES.css : TYPES.js,
      base64: Buffer.from(contents).toString('base64'),
    }
  }
  const pages = ['index.html', 'frame.html'] as const
  for (const page of pages) {
    const text = readFileSync(join(ROOT, PAGE, page), 'utf8').replace(/\{\{([a-z.]+)\}\}/g, (_, name: string) => {
      if (names[name] === undefined) throw new Error(`${page}: no file ${name}`)
      return names[name]
    })
    files[page] = { type: TYPES.html, base64: Buffer.from(text).toString('base64') }
  }
  const inputs = [
    ...new Set(made.flatMap(({ metafile }) => Object.keys(metafile.inputs))),
    ...pages.map((page) => `${PAGE}/${page}`),
    'src/viewer/bundle.ts',
  ].sort()
  return { inputs, hash: hashOf(inputs), files }
}

function filesOf({ files }: Kept): ViewerFiles {
  return new Map(
    Object.entries(files).map(([name, { type, base64 }]) => [name, { type, body: Buffer.from(base64, 'base64') }]),
  )
}

/** null: there is none, or it was made of other sources. */
function readKept(): Kept | null {
  try {
    const kept = JSON.parse(readFileSync(join(ROOT, KEPT), 'utf8')) as Kept
    return kept.hash === hashOf(kept.inputs) ? kept : null
  } catch (error) {
    if (error instanceof SyntaxError || isFileError(error)) return null
    throw error
  }
}

/** Several workers may do so at a time: each writes a file of its own, and the last name wins. */
function keep(made: Kept): void {
  const path = join(ROOT, KEPT)
  const own = `${path}.${process.pid}`
  try {
    mkdirSync(join(ROOT, 'build/viewer'), { recursive: true })
    writeFileSync(own, JSON.stringify(made))
    renameSync(own, path)
  } catch (error) {
    if (!isFileError(error)) throw error
    rmSync(own, { force: true })
  }
}

function hashOf(inputs: readonly string[]): string {
  const hash = createHash('sha256')
  for (const input of inputs) hash.update(`${input}\n`).update(readFileSync(join(ROOT, input)))
  return hash.digest('hex')
}

function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error
}
