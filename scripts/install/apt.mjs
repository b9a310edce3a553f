/** Programs from Debian that the demo and the tests run: found by their executables, installed by apt-get. */

import { spawnSync } from 'node:child_process'
import { accessSync, chmodSync, constants, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { withProgress } from './progress.mjs'

/** Why each is needed is told to whoever is asked to let it be installed. */
const PROGRAMS = {
  dovecot: {
    executables: ['dovecot', '/usr/lib/dovecot/imap', '/usr/lib/dovecot/lmtp', '/usr/lib/dovecot/submission'],
    packages: ['dovecot-imapd', 'dovecot-lmtpd', 'dovecot-submissiond'],
    why: 'the mail provider of the sandbox: mailboxes and IMAP',
  },
  postfix: { executables: ['postfix'], packages: ['postfix'], why: 'the mail provider of the sandbox: SMTP' },
  clients: {
    // The last is how mbsync and Postfix log in.
    executables: ['swaks', 'mbsync', 'curl', 'msmtp', 'openssl', 'gpg', '/usr/lib/x86_64-linux-gnu/sasl2/libplain.so'],
    packages: ['swaks', 'libnet-ssleay-perl', 'isync', 'curl', 'msmtp', 'openssl', 'gnupg', 'libsasl2-modules'],
    why: 'mail clients that the tests send and read with',
  },
  chromium: {
    executables: ['chromium'],
    packages: ['chromium'],
    why: 'the browser in which the tests read mail with the viewer',
  },
  readers: {
    executables: [
      'offlineimap',
      'fetchmail',
      'getmail',
      'imapfilter',
      'mutt',
      'neomutt',
      'alpine',
      'aerc',
      'thunderbird',
      'Xvfb',
    ],
    packages: [
      'offlineimap3',
      'fetchmail',
      'getmail6',
      'imapfilter',
      'mutt',
      'neomutt',
      'alpine',
      'aerc',
      'thunderbird',
      'xvfb',
    ],
    why: 'mail clients that the long tests read a large mailbox with',
  },
  ceph: {
    executables: ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'ceph', 'monmaptool'],
    packages: ['radosgw', 'ceph-mon', 'ceph-osd'],
    why: 'the object store that the long tests keep copies of mail in',
  },
  postgresql: {
    executables: ['postgres'],
    packages: ['postgresql'],
    why: 'the second database of the key repository, which the tests run on too',
  },
  redis: { executables: ['redis-server'], packages: ['redis-server'], why: 'counters shared by several machines' },
}

const POLICY = '/usr/sbin/policy-rc.d'

/** Those of `names` of which an executable is missing. */
export function missingPrograms(names) {
  return names.map((name) => PROGRAMS[name]).filter(({ executables }) => !executables.every(isThere))
}

function isThere(executable) {
  const postgres = existsSync('/usr/lib/postgresql')
    ? readdirSync('/usr/lib/postgresql').map((version) => `/usr/lib/postgresql/${version}/bin`)
    : []
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', ...postgres]
  return (executable.startsWith('/') ? [executable] : folders.map((folder) => `${folder}/${executable}`)).some(
    (path) => {
      try {
        accessSync(path, path.endsWith('.so') ? constants.R_OK : constants.X_OK)
        return true
      } catch {
        return false
      }
    },
  )
}

/** Root only. No service of the packages is started: the sandbox runs its own, with its own configuration. */
export async function installPrograms(programs) {
  process.stdout.write('Installing Debian packages with apt-get, without starting any service of theirs:\n')
  for (const { packages, why } of programs) process.stdout.write(`  ${packages.join(' ')}: ${why}\n`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const ownPolicy = !existsSync(POLICY)
  if (ownPolicy) {
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n')
    chmodSync(POLICY, 0o755)
  }
  try {
    await withProgress('apt-get update', 'apt-get', ['update'], { env })
    // Postfix asks; its own set-up is not wanted.
    const answer = 'postfix postfix/main_mailer_type select No configuration\n'
    spawnSync('debconf-set-selections', [], { input: answer, env })
    const packages = programs.flatMap((program) => program.packages)
    await withProgress('apt-get install', 'apt-get', ['install', '-y', '--no-install-recommends', ...packages], { env })
  } finally {
    if (ownPolicy) rmSync(POLICY, { force: true })
  }
}
