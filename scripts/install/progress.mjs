/** Runs a slow command with a sign of life every few seconds; what it prints is shown only if it fails. */
import { spawn } from 'node:child_process'

const TELL_EVERY_MS = 5000
/** Of a failed command's output, the end: that is where the reason stands. */
const SHOWN_OCTETS = 8000

export async function withProgress(title, command, args, options) {
  const began = Date.now()
  const seconds = () => `${Math.round((Date.now() - began) / 1000)} s`
  process.stdout.write(`${title} ...\n`)
  const timer = setInterval(() => process.stdout.write(`${title}: ${seconds()}\n`), TELL_EVERY_MS)
  let output = ''
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output = (output + text).slice(-SHOWN_OCTETS)
    })
  }
  const code = await new Promise((resolve) => {
    child.on('error', (error) => {
      output += error.message
      resolve(1)
    })
    child.on('close', resolve)
  })
  clearInterval(timer)
  if (code !== 0) {
    process.stderr.write(`${output}\nvesmail: ${title} failed\n`)
    process.exit(1)
  }
  process.stdout.write(`${title}: done in ${seconds()}\n`)
}
