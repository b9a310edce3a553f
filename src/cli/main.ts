/**
 * The `vesmail` command: finds the subcommand, loads only that one (start-up stays fast), and turns what happens into
 * an exit code. Each subcommand is one file beside this one.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { keepYoungGenerationSmall } from '../workers/collector.ts'
import { resolveCommand, splitCommandLine } from './arguments.ts'
import { describeFailure, EXIT, exitCodeOf, UsageError } from './exit.ts'

interface Subcommand {
  readonly name: string
  readonly summary: string
  /** Through its process, of any size. */
  readonly carriesMail?: true
  readonly load: () => Promise<Command>
}

const SUBCOMMANDS: readonly Subcommand[] = [
  {
    name: 'daemon',
    summary: 'the gateway: guard, workers, listeners',
    carriesMail: true,
    load: async () => (await import('./daemon.ts')).daemonCommand(),
  },
  {
    name: 'imap',
    summary: 'one IMAP session on stdin and stdout',
    carriesMail: true,
    load: async () => (await import('./stdio.ts')).imapCommand(),
  },
  {
    name: 'smtp',
    summary: 'one SMTP session on stdin and stdout',
    carriesMail: true,
    load: async () => (await import('./stdio.ts')).smtpCommand(),
  },
  {
    name: 'now',
    summary: 'one HTTP session on stdin and stdout',
    carriesMail: true,
    load: async () => (await import('./stdio.ts')).nowCommand(),
  },
  {
    name: 'encrypt',
    summary: 'encrypt a message, stdin to stdout',
    carriesMail: true,
    load: async () => (await import('./encrypt.ts')).encryptCommand(),
  },
  {
    name: 'decrypt',
    summary: 'decrypt a message, stdin to stdout',
    carriesMail: true,
    load: async () => (await import('./decrypt.ts')).decryptCommand(),
  },
  {
    name: 'repository',
    summary: 'the key repository',
    load: async () => (await import('./repository.ts')).repositoryCommand(),
  },
  {
    name: 'account',
    summary: 'create, show, rotate, lock, delete, recover accounts',
    load: async () => (await import('./account.ts')).accountCommand(),
  },
  {
    name: 'profile',
    summary: "an account's mail profiles",
    load: async () => (await import('./profile.ts')).profileCommand(),
  },
  {
    name: 'check',
    summary: 'check a configuration, certificates, reachability',
    load: async () => (await import('./check.ts')).checkCommand(),
  },
  {
    name: 'demo',
    summary: 'everything on this machine, with one real mail',
    load: async () => (await import('./demo.ts')).demoCommand(),
  },
  { name: 'acl', summary: 'who may use the proxies', load: async () => (await import('./acl.ts')).aclCommand() },
  {
    name: 'audit',
    summary: "the key repository's audit log",
    load: async () => (await import('./audit.ts')).auditCommand(),
  },
]

/** @param argv without node and the script. @returns exit code */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const { word, args } = splitCommandLine(argv)
    if (word === null) return withoutCommand(args)
    if (word === 'help') return help(args[0])
    const name = resolveCommand(
      word,
      SUBCOMMANDS.map((command) => command.name),
    )
    if (isVersion(args) && name !== 'account') return say(versionText())
    const subcommand = SUBCOMMANDS.find((one) => one.name === name)!
    if (subcommand.carriesMail) keepYoungGenerationSmall()
    const command = await subcommand.load()
    overrideExits(command.name(`vesmail ${name}`))
    await command.parseAsync([...args], { from: 'user' })
    return Number(process.exitCode ?? EXIT.ok)
  } catch (thrown) {
    // What commander has to say it has said already.
    if (!(thrown instanceof CommanderError)) process.stderr.write(`vesmail: ${describeFailure(thrown)}\n`)
    return exitCodeOf(thrown)
  }
}

export function versionText(): string {
  const path = new URL('../../package.json', import.meta.url)
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string }
  return `VESmail ${version} (Node.js ${process.versions.node}, OpenSSL ${process.versions.openssl})`
}

function withoutCommand(args: readonly string[]): number {
  if (isVersion(args)) return say(versionText())
  if (args.includes('--help') || args.includes('-h')) return say(overview().helpInformation().trimEnd())
  throw new UsageError(
    args.length === 0 ? 'no command; see vesmail --help' : `no command among: ${args.join(' ')}; see vesmail --help`,
  )
}

async function help(word: string | undefined): Promise<number> {
  if (word === undefined) return say(overview().helpInformation().trimEnd())
  const name = resolveCommand(
    word,
    SUBCOMMANDS.map((command) => command.name),
  )
  return say((await SUBCOMMANDS.find((one) => one.name === name)!.load()).helpInformation().trimEnd())
}

function overview(): Command {
  const program = new Command('vesmail').description('End-to-end email encryption gateway.').usage('COMMAND [options]')
  program.option('-V, --version', 'print the version').helpOption('--help', 'this, or behind a command: its options')
  for (const { name, summary } of SUBCOMMANDS) program.command(name).description(summary)
  return program.helpCommand('help [command]', 'its options')
}

function isVersion(args: readonly string[]): boolean {
  return args.includes('-V') || args.includes('--version')
}

function say(text: string): number {
  process.stdout.write(`${text}\n`)
  return EXIT.ok
}

/** Commander must not end the process by itself: its usage errors have another exit code than ours. */
function overrideExits(command: Command): void {
  command.exitOverride()
  for (const child of command.commands) overrideExits(child)
}
