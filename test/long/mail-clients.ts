/**
 * Real mail clients as functions: each reads all of INBOX and gives the messages as it has them, in any order. What a
 * client adds of its own is taken away, so that two runs can be compared.
 */
import { spawn } from 'node:child_process'
import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ImapFlow } from 'imapflow'
import { type Access, files, type MailClient, maildir, mbox, PATIENCE_MS, write } from './client-folder.ts'
import { aerc, alpine } from './terminal-clients.ts'
import { thunderbird } from './thunderbird.ts'

const NOBODY = 65_534
/**
 * fetchmail 6.4 takes lines in pieces of 8,191 octets and puts NUL, one octet of memory it never set, and LF after each
 * but the last. That octet is another one with the packets the same answer comes in (seen with Dovecot directly, the same
 * octets in other packets), so it says nothing about the mail; without the three the line is whole again.
 */
const FETCHMAIL_BREAK = /(?<![^\n])([^\n]{8191})\0[\s\S]\n/g

/**
 * getmail 6.18 has a child write each message, and begins to listen for its end after it was made: a child that is quicker
 * is waited for in vain until its time is up (seen with Dovecot directly, on a busy machine). So it asks the system here.
 */
const GETMAIL = `
import os, runpy, shutil
from getmailcore.baseclasses import ForkingBase
ForkingBase._prepare_child = lambda self: None
ForkingBase._wait_for_child = lambda self, pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
runpy.run_path(shutil.which('getmail'), run_name='__main__')
`

export const CLIENTS: Readonly<Record<string, MailClient>> = {
  mbsync: async ({ port, user, password, folder }) => {
    const rc = write(
      folder,
      'rc',
      `IMAPAccount g\nHost 127.0.0.1\nPort ${port}\nUser ${user}\nPass ${password}\nSSLType None\nAuthMechs PLAIN\n\n` +
        `IMAPStore r\nAccount g\n\nMaildirStore l\nPath ${folder}/\nInbox ${folder}/INBOX\n\n` +
        'Channel c\nFar :r:\nNear :l:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n',
    )
    await execute(folder, 'mbsync', ['-c', rc, '-a'])
    return maildir(join(folder, 'INBOX')).map((message) => message.replace(/^X-TUID: .*\n/m, ''))
  },

  offlineimap: async ({ port, user, password, folder }) => {
    const rc = write(
      folder,
      'rc',
      `[general]\naccounts = a\nmetadata = ${folder}/meta\nui = quiet\n[Account a]\nlocalrepository = l\nremoterepository = r\n` +
        `[Repository l]\ntype = Maildir\nlocalfolders = ${folder}/md\n` +
        `[Repository r]\ntype = IMAP\nreadonly = True\nremotehost = 127.0.0.1\nremoteport = ${port}\nssl = no\nstarttls = no\n` +
        `auth_mechanisms = PLAIN\nremoteuser = ${user}\nremotepass = ${password}\nfolderfilter = lambda name: name == 'INBOX'\n`,
    )
    await execute(
      folder,
      'offlineimap',
      ['-c', rc, '-o', '-1'],
      undefined,
      /has defects preventing it from being processed/,
    )
    return maildir(join(folder, 'md', 'INBOX'))
  },

  fetchmail: async ({ port, user, password, folder }) => {
    mkdirSync(join(folder, 'out'))
    const save = write(folder, 'save', `#!/bin/sh\nexec cat > "$(mktemp ${folder}/out/XXXXXXXXXX)"\n`, 0o700)
    const rc = write(
      folder,
      'rc',
      `set no bouncemail\nset invisible\npoll 127.0.0.1 service ${port} proto IMAP auth password user "${user}" password "${password}"\n` +
        `  sslproto "" no rewrite keep fetchall mda "${save}"\n`,
    )
    await execute(folder, 'fetchmail', ['-f', rc, '-s', '--nodetach', '--pidfile', join(folder, 'pid')])
    return files(join(folder, 'out')).map((message) => message.replace(FETCHMAIL_BREAK, '$1'))
  },

  getmail: async ({ port, user, password, folder }) => {
    for (const each of ['cur', 'new', 'tmp']) mkdirSync(join(folder, 'md', each), { recursive: true })
    write(
      folder,
      'getmailrc',
      `[retriever]\ntype = SimpleIMAPRetriever\nserver = 127.0.0.1\nport = ${port}\nusername = ${user}\npassword = ${password}\n` +
        `mailboxes = ("INBOX",)\n[destination]\ntype = Maildir\npath = ${folder}/md/\n` +
        '[options]\nread_all = true\ndelete = false\ndelivered_to = false\nreceived = false\nverbose = 0\n',
    )
    // It does not deliver as root.
    for (const each of [
      folder,
      join(folder, 'getmailrc'),
      ...['', 'cur', 'new', 'tmp'].map((name) => join(folder, 'md', name)),
    ]) {
      if (process.getuid?.() === 0) chownSync(each, NOBODY, NOBODY)
    }
    await execute(
      folder,
      'python3',
      ['-c', GETMAIL, '--getmaildir', folder],
      NOBODY,
      /Delivery error .*UnicodeEncodeError/,
    )
    return maildir(join(folder, 'md'))
  },

  curl: async ({ port, user, password, folder, messages }) => {
    const url = `imap://127.0.0.1:${port}/INBOX;MAILINDEX=[1-${messages}]`
    await execute(folder, 'curl', ['-s', '-u', `${user}:${password}`, url, '-o', `${folder}/m#1`])
    return files(folder)
  },

  imapfilter: async ({ port, user, password, folder }) => {
    mkdirSync(join(folder, 'out'))
    const script = write(
      folder,
      'config.lua',
      `options.timeout = 120\noptions.starttls = false\noptions.certificates = false\naccount = IMAP { server = '127.0.0.1', port = ${port}, username = '${user}', password = '${password}' }\n` +
        'for _, each in ipairs(account.INBOX:select_all()) do\n  local box, uid = table.unpack(each)\n' +
        `  local file = io.open('${folder}/out/' .. uid, 'wb')\n  file:write(box[uid]:fetch_header(), '\\0', box[uid]:fetch_body(), '\\0', box[uid]:fetch_size())\n  file:close()\nend\n`,
    )
    await execute(folder, 'imapfilter', ['-c', script])
    return files(join(folder, 'out'))
  },

  alpine,
  aerc,
  thunderbird,
  mutt: (access) => mutt('mutt', access),
  neomutt: (access) => mutt('neomutt', access),

  imapflow: async ({ port, user, password }) => {
    const client = new ImapFlow({
      host: '127.0.0.1',
      port,
      secure: false,
      doSTARTTLS: false,
      auth: { user, pass: password },
      logger: false,
    })
    await client.connect()
    const lock = await client.getMailboxLock('INBOX')
    const found: string[] = []
    const items = {
      uid: true,
      size: true,
      envelope: true,
      bodyStructure: true,
      flags: true,
      internalDate: true,
      source: true,
    }
    for await (const { source, id: _, modseq: __, ...message } of client.fetch('1:*', items)) {
      found.push(
        JSON.stringify({ ...message, flags: [...(message.flags ?? [])].sort(), source: source?.toString('latin1') }),
      )
    }
    lock.release()
    await client.logout()
    return found
  },
}

/** Copies every message to an mbox file, on a terminal of its own. */
async function mutt(program: 'mutt' | 'neomutt', { port, user, password, folder }: Access): Promise<string[]> {
  const box = join(folder, 'box')
  const rc = write(
    folder,
    'rc',
    `set imap_user="${user}" imap_pass="${password}" ssl_starttls=no ssl_force_tls=no header_cache="" message_cachedir=""\n` +
      `set confirmappend=no confirmcreate=no mbox_type=mbox delete=no quit=yes sort=mailbox-order wait_key=no copy_decode_weed=no\n` +
      `set folder="${folder}" imap_check_subscribed=no mail_check=3600\n` +
      `push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>${box}<enter><quit>"\n`,
  )
  const command = `TERM=xterm ${program} -n -F ${rc} -f imap://127.0.0.1:${port}/INBOX`
  await execute(folder, 'script', ['-qec', command, '/dev/null'])
  return mbox(box)
}

/**
 * @param leavesOut what it says where it could not make sense of a message itself (Python's own library cannot print each
 * again), went on, and tells so by its exit code: the same messages then must be left out through us
 * @returns when it ended well; its complaints otherwise
 */
async function execute(
  folder: string,
  program: string,
  args: readonly string[],
  owner?: number,
  leavesOut?: RegExp,
): Promise<void> {
  const child = spawn(program, args, {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8', FETCHMAILHOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PATIENCE_MS,
    ...(owner === undefined || process.getuid?.() !== 0 ? {} : { uid: owner, gid: owner }),
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said = (said + bytes).slice(-2000)))
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  if (code !== 0 && (code === null || leavesOut?.test(said) !== true))
    throw new Error(`${program} ended with ${code}: ${said}`)
}
