/**
 * The layer rule of docs/ARCHITECTURE.md as a check: who in src/ may import whom, and which packages. Prints each
 * breach with its file and line; exit 1 if there is one. Also fails on import cycles.
 */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

const ANY_FILE_IO = ['fs', 'path', 'os', 'url', 'events', 'timers', 'stream', 'perf_hooks', 'async_hooks']
/** layers: folders below src/ (longest prefix wins); packages: bare names, `node:` left out. */
const RULES = {
  base: { layers: [], packages: ['assert', 'util', 'buffer', 'zod'] },
  engine: { layers: ['base'], packages: ['assert', 'util', 'buffer', 'crypto', 'zlib', 'hash-wasm'] },
  'engine/seal/native.ts': { layers: ['base', 'engine'], packages: ['module', 'crypto', 'buffer'] },
  ves: {
    layers: ['base', 'engine/seal', 'engine/transform.ts', 'engine/account.ts', 'engine/settings.ts'],
    packages: ['assert', 'util', 'buffer', 'crypto', 'undici', 'shamir-secret-sharing', 'zod', ...ANY_FILE_IO],
  },
  'ves/repository': {
    layers: ['base', 'engine/seal', 'ves'],
    packages: [
      'assert',
      'util',
      'buffer',
      'crypto',
      'kysely',
      'kysely/migration',
      'pg',
      'sqlite',
      'nodemailer',
      'zod',
      ...ANY_FILE_IO,
    ],
  },
  // Runs in the browser: what it uses of Node is replaced there by `viewer/stand-in`.
  viewer: {
    layers: ['base', 'engine', 'ves'],
    packages: [
      ...['@noble/ciphers/aes.js', '@noble/hashes/legacy.js', '@noble/hashes/pbkdf2.js', '@noble/hashes/sha2.js'],
      ...['@noble/post-quantum/ml-kem.js', 'dompurify'],
    ],
  },
  'viewer/bundle.ts': { layers: ['base'], packages: ['esbuild', 'crypto', 'module', ...ANY_FILE_IO] },
  net: {
    layers: ['base', 'engine', 'ves'],
    packages: [
      ...['net', 'tls', 'dns', 'dns/promises', 'fs', 'http', 'crypto', 'buffer', 'util', 'undici', ...ANY_FILE_IO],
      ...['node-forge', '@peculiar/x509', 'uWebSockets.js', 'zod', 'fs/promises', 'https', '@aws-sdk/client-s3'],
    ],
  },
  workers: {
    layers: ['base', 'engine', 'ves', 'net', 'viewer/bundle.ts'],
    packages: [
      ...['piscina', 'pino', 'prom-client', 'ioredis', 'sqlite', 'zod', 'cluster', 'net', 'crypto', 'buffer', 'util'],
      ...['worker_threads', 'v8', 'process', 'fs/promises', ...ANY_FILE_IO],
    ],
  },
  'workers/thread': { layers: ['base', 'engine'], packages: ['worker_threads', 'piscina', 'buffer'] },
  guard: {
    layers: ['base'],
    packages: ['cluster', 'net', 'process', 'child_process', 'pino', 'crypto', 'buffer', 'util', ...ANY_FILE_IO],
  },
  cli: { layers: ['base', 'engine', 'ves', 'net', 'workers', 'guard'], packages: null },
}
/** These do not know each other, or one not the other (architecture.md). */
const FORBIDDEN = [
  ['engine/imap', 'engine/smtp'],
  ['engine/smtp', 'engine/imap'],
  ['engine/mime', 'engine/seal'],
]
const ONLY_IN = {
  'uWebSockets.js': ['net/uws.ts', 'net/uws-websocket.ts'],
  'node-forge': ['net'],
  '@peculiar/x509': ['net'],
  esbuild: ['viewer/bundle.ts'],
  '@aws-sdk/client-s3': ['net/now/spool-s3.ts'],
}

const FROM =
  /(?:^|\n)(import|export)\s+(type\s+)?(?:[\w$*][^'"\n]*|\{[^}]*\}\s*|[\w$]+\s*,\s*\{[^}]*\}\s*)from\s+['"]([^'"]+)['"]/g
const BARE = /(?:^|\n)import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g
const within = (file, place) => file === place || file.startsWith(`${place}/`)
const breaches = []
const graph = new Map()

for (const path of globSync('src/**/*.ts').sort()) {
  const file = path.slice('src/'.length)
  const text = readFileSync(path, 'utf8')
  const place = Object.keys(RULES)
    .filter((key) => within(file, key))
    .sort((a, b) => b.length - a.length)[0]
  const targets = new Set()
  graph.set(file, targets)
  const imports = [
    ...[...text.matchAll(FROM)].map((match) => ({ match, target: match[3], isType: match[2] !== undefined })),
    ...[...text.matchAll(BARE)].map((match) => ({ match, target: match[1] ?? match[2], isType: false })),
  ]
  for (const { match, target, isType } of imports) {
    const line = text.slice(0, match.index + match[0].length).split('\n').length
    const breach = (why) => breaches.push(`src/${file}:${line}: ${why}`)
    if (place === undefined) breach('a folder of src/ that the layer table does not know')
    else if (target.startsWith('.')) {
      const to = normalize(join(dirname(file), target))
      // A cycle of types alone is none when the program runs.
      if (!isType) targets.add(to)
      const layer = place.split('/')[0]
      const own = place === layer ? within(to, layer) : within(to, place)
      if (!own && !RULES[place].layers.some((allowed) => within(to, allowed))) breach(`${place} may not import ${to}`)
      if (FORBIDDEN.some(([from, not]) => within(file, from) && within(to, not))) breach(`must not know ${to}`)
    } else {
      const name = target.replace(/^node:/, '')
      const { packages } = RULES[place]
      if (packages !== null && !packages.includes(name)) breach(`${place} may not use ${target}`)
      if (ONLY_IN[name] !== undefined && !ONLY_IN[name].some((where) => within(file, where))) {
        breach(`${target} belongs in ${ONLY_IN[name].join(', ')} alone`)
      }
    }
  }
  const code = text.split('\n').filter((line) => !/^\s*(?:\/\/|\/?\*|$)/.test(line)).length
  if (code > 500) breaches.push(`src/${file}: more than 500 lines of code`)
}
for (const cycle of cycles()) breaches.push(`import cycle: ${cycle.join(' → ')}`)
for (const breach of breaches) process.stdout.write(`${breach}\n`)
process.stdout.write(`layers: ${graph.size} files, ${breaches.length} breaches\n`)
process.exit(breaches.length === 0 ? 0 : 1)

/** Each cycle once, by its first file. */
function cycles() {
  const state = new Map()
  const found = []
  const visit = (file, trail) => {
    if (state.get(file) === 'done') return
    if (state.get(file) === 'open') {
      found.push([...trail.slice(trail.indexOf(file)), file])
      return
    }
    state.set(file, 'open')
    for (const to of graph.get(file) ?? []) visit(to, [...trail, file])
    state.set(file, 'done')
  }
  for (const file of graph.keys()) visit(file, [])
  return found
}
