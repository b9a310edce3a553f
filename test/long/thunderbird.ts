/**
 * Thunderbird on a screen of its own (Xvfb), its account made by preferences, told by its remote protocol (Marionette:
 * a length, a colon, JSON) to take all of INBOX offline: one file a message.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { files, type MailClient, PATIENCE_MS, write } from './client-folder.ts'

/** How often its files are looked for. */
const LOOK_MS = 100

/** Runs inside Thunderbird; the arguments are user and password. */
const TAKE_OFFLINE = `
const [user, password, done] = arguments;
(async () => {
  const login = Cc['@mozilla.org/login-manager/loginInfo;1'].createInstance(Ci.nsILoginInfo);
  login.init('imap://127.0.0.1', null, 'imap://127.0.0.1', user, password, '', '');
  await Services.logins.addLoginAsync(login);
  const { MailServices } = ChromeUtils.importESModule('resource:///modules/MailServices.sys.mjs');
  const server = MailServices.accounts.getIncomingServer('server1');
  const ended = (start) => new Promise((resolve, reject) => start({
    OnStartRunningUrl() {},
    OnStopRunningUrl: (_, status) => (status === 0 ? resolve() : reject(new Error('status ' + status))),
    QueryInterface: ChromeUtils.generateQI(['nsIUrlListener']),
  }));
  server.performExpand(null);
  const inboxOf = () => server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
  while (!inboxOf()) await new Promise((resolve) => setTimeout(resolve, 100));
  const inbox = inboxOf().QueryInterface(Ci.nsIMsgImapMailFolder);
  await ended((listener) => inbox.updateFolderWithListener(null, listener));
  await ended((listener) => inbox.downloadAllForOffline(listener, null));
  const headers = [...inbox.messages];
  const index = headers.map((each) => [each.messageKey, each.messageSize, each.mime2DecodedSubject, each.mime2DecodedAuthor, each.messageId, each.lineCount]);
  return { path: inbox.filePath.path, offline: headers.filter((each) => each.flags & Ci.nsMsgMessageFlags.Offline).length, index };
})().then(done, (error) => done({ error: String(error) }));`

interface Taken {
  readonly error?: string
  readonly path: string
  readonly offline: number
  /** What its message list shows of each. */
  readonly index: readonly (readonly unknown[])[]
}

export const thunderbird: MailClient = async ({ port, user, password, folder, messages }) => {
  const profile = join(folder, 'profile')
  mkdirSync(profile)
  const server = {
    type: 'imap',
    hostname: '127.0.0.1',
    port,
    userName: user,
    authMethod: 3,
    socketType: 0,
    offline_download: true,
    // Would take the same messages a second time, beside what is asked for.
    autosync_offline_stores: false,
    storeContractID: '@mozilla.org/msgstore/maildirstore;1',
    directory: join(profile, 'ImapMail', 'server'),
    login_at_startup: false,
    check_new_mail: false,
  }
  const settings: Record<string, unknown> = {
    'mail.accountmanager.accounts': 'account1',
    'mail.accountmanager.defaultaccount': 'account1',
    'mail.account.account1.server': 'server1',
    'mail.account.account1.identities': 'id1',
    'mail.identity.id1.useremail': 'a@lab.test',
    'mail.identity.id1.valid': true,
    // The port is then told in a file.
    'marionette.port': 0,
    'mail.provider.suppress_dialog_on_startup': true,
    'mail.rights.version': 1,
    'mailnews.start_page.enabled': false,
    'mailnews.database.global.indexer.enabled': false,
    'mail.shell.checkDefaultClient': false,
    'app.update.enabled': false,
    'datareporting.policy.dataSubmissionEnabled': false,
    'toolkit.telemetry.enabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
  }
  for (const [name, value] of Object.entries(server)) settings[`mail.server.server1.${name}`] = value
  const lines = Object.entries(settings).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`)
  write(profile, 'user.js', lines.join(''))

  const screen = spawn('Xvfb', ['-displayfd', '3', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const running: ChildProcess[] = [screen]
  try {
    const display = await Promise.race([firstLine(screen.stdio[3] as Readable), failed(screen, 'Xvfb')])
    const args = ['--profile', profile, '--no-remote', '--marionette', '--remote-allow-system-access']
    const program = spawn('thunderbird', args, {
      env: { PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8', DISPLAY: `:${display}` },
      stdio: 'ignore',
    })
    running.unshift(program)
    const taken = await Promise.race([takeOffline(profile, user, password), failed(program, 'thunderbird')])
    if (taken.error !== undefined) throw new Error(taken.error)
    if (taken.offline !== messages) throw new Error(`${taken.offline} messages are offline`)
    const index = taken.index.map((each) => `X-Number: index ${JSON.stringify(each)}`)
    const own = /^X-Mozilla-(?:Status2?|Keys): .*\r?\n/gm
    const stored = files(join(taken.path, 'cur')).map((message) => message.replace(own, ''))
    // A list of UIDs that is not in order makes it ask for some of them twice, and store what it gets.
    if (stored.length !== messages) throw new Error(`${stored.length} messages are stored`)
    return [...stored, ...index]
  } finally {
    for (const each of running) {
      const ended = each.exitCode === null && each.signalCode === null ? once(each, 'exit') : null
      each.kill()
      await ended
    }
  }
}

async function takeOffline(profile: string, user: string, password: string): Promise<Taken> {
  const portFile = join(profile, 'MarionetteActivePort')
  const limitMs = Date.now() + PATIENCE_MS
  const told = (): string => (existsSync(portFile) ? readFileSync(portFile, 'utf8').trim() : '')
  while (told() === '') {
    if (Date.now() > limitMs) throw new Error('thunderbird does not start')
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  const socket = connect(Number(told()), '127.0.0.1')
  try {
    const say = speaker(socket)
    await say('WebDriver:NewSession', {})
    await say('Marionette:SetContext', { value: 'chrome' })
    await say('WebDriver:SetTimeouts', { script: PATIENCE_MS })
    const script = { script: TAKE_OFFLINE, args: [user, password], newSandbox: true }
    const { value } = (await say('WebDriver:ExecuteAsyncScript', script)) as { value: Taken }
    return value
  } finally {
    socket.destroy()
  }
}

/** One command at a time: `[0, id, name, parameters]`, answered by `[1, id, error, result]`; a greeting comes first. */
function speaker(socket: Socket): (name: string, parameters: unknown) => Promise<unknown> {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  let bytes = Buffer.alloc(0)
  const next = async (): Promise<unknown> => {
    for (;;) {
      const colon = bytes.indexOf(':')
      const end = colon + 1 + Number(bytes.toString('latin1', 0, Math.max(colon, 0)))
      if (colon > 0 && bytes.length >= end) {
        const message: unknown = JSON.parse(bytes.toString('utf8', colon + 1, end))
        bytes = bytes.subarray(end)
        return message
      }
      const { value, done } = await chunks.next()
      if (done === true) throw new Error('thunderbird closed its remote protocol')
      bytes = Buffer.concat([bytes, value])
    }
  }
  let id = 0
  const greeting = next()
  return async (name, parameters) => {
    await greeting
    const message = JSON.stringify([0, ++id, name, parameters])
    socket.write(`${Buffer.byteLength(message)}:${message}`)
    const [, , error, result] = (await next()) as readonly [number, number, unknown, unknown]
    if (error !== null) throw new Error(`${name}: ${JSON.stringify(error)}`)
    return result
  }
}

async function firstLine(stream: Readable): Promise<string> {
  const [bytes] = (await once(stream, 'data')) as [Buffer]
  return bytes.toString().trim()
}

/** Never a result: a program that cannot be started, or ends before its time. */
function failed(child: ChildProcess, name: string): Promise<never> {
  return new Promise((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => reject(new Error(`${name} ended with ${code ?? signal}`)))
  })
}
