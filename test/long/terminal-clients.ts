/**
 * Clients that are operated by keys: each on a terminal of its own (util-linux script), its keys sent when the screen
 * shows what is waited for. Both write all of INBOX to an mbox file.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type MailClient, mbox, PATIENCE_MS, write } from './client-folder.ts'

/** What has to be on the screen, or hold, before the keys are pressed. */
interface Step {
  readonly after: RegExp | (() => boolean)
  readonly keys: string
}

/** How often the screen is looked at. */
const LOOK_MS = 100

export const alpine: MailClient = async ({ port, user, password, folder }) => {
  const rc = write(
    folder,
    'rc',
    `inbox-path={127.0.0.1:${port}/user=${user}/notls/novalidate-cert}INBOX\nlast-version-used=99.0\nuser-domain=lab.test\n` +
      'feature-list=enable-aggregate-command-set,quit-without-confirm,save-will-not-delete,save-aggregates-copy-sequence,' +
      'disable-password-file-saving\n',
  )
  const box = write(folder, 'box', '')
  await onTerminal(folder, `alpine -p ${rc} -i`, [
    { after: /PASSWORD/, keys: `${password}\r` },
    { after: /opened with/, keys: ';' },
    { after: /[Ss]elect/, keys: 'a' },
    { after: /selected/, keys: 'a' },
    { after: /APPLY/, keys: 's' },
    { after: /SAVE/, keys: `${box}\r` },
    // Which of the two it shows last is up to it: "[Saving DONE]", or how many there were.
    { after: /\[Saving(?:\s|\x1b\[[\d;]*\w)+DONE\]|messages? (?:copied|saved)/, keys: 'q' },
  ])
  // Its mbox format keeps UIDVALIDITY, which differs by nature, in the first message.
  return mbox(box).map((message) => message.replace(/^X-IMAPbase: .*\n/m, ''))
}

export const aerc: MailClient = async ({ port, user, password, folder, messages }) => {
  mkdirSync(join(folder, '.config', 'aerc'), { recursive: true })
  write(
    join(folder, '.config', 'aerc'),
    'accounts.conf',
    `[a]\nsource = imap+insecure://${encodeURIComponent(user)}:${password}@127.0.0.1:${port}\ndefault = INBOX\n` +
      'from = a <a@lab.test>\ncache-headers = false\n',
  )
  const box = write(folder, 'box', '')
  const all = (): boolean => {
    const text = readFileSync(box, 'latin1')
    return (text.match(/^X-Number: /gm)?.length ?? 0) >= messages
  }
  let octets = -1
  const settled = (): boolean => {
    const before = octets
    octets = readFileSync(box).length
    return octets === before
  }
  await onTerminal(folder, 'aerc', [
    { after: /\d{4}-\d\d-\d\d/, keys: `:export-mbox ${box}\r` },
    { after: all, keys: '' },
    { after: settled, keys: ':quit\r' },
  ])
  return mbox(box)
}

/** @returns when the program ended by its last keys; a step that is never reached is an error with the screen's end */
async function onTerminal(folder: string, command: string, steps: readonly Step[]): Promise<void> {
  const child = spawn('script', ['-qefc', `stty rows 40 cols 120; exec ${command}`, '/dev/null'], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8', TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  const screen = { text: '' }
  child.stdout.setEncoding('latin1').on('data', (text: string) => (screen.text += text))
  // Its end is told by the exit code.
  child.stdin.on('error', () => {})
  const limitMs = Date.now() + PATIENCE_MS
  try {
    for (const { after, keys } of steps) {
      while (after instanceof RegExp ? !after.test(screen.text) : !after()) {
        if (Date.now() > limitMs || hasEnded(child)) throw new Error(`waiting for ${after}: ${shown(screen.text)}`)
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
      }
      screen.text = ''
      child.stdin.write(keys)
    }
    const code = await ended
    if (code !== 0) throw new Error(`${command} ended with ${code}: ${shown(screen.text)}`)
  } finally {
    child.kill()
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

function shown(text: string): string {
  return JSON.stringify(text.slice(-1000))
}
