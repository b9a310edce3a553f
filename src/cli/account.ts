/** `vesmail account`: the life of accounts at our own key repository. Each subcommand has a file beside this one. */
import { Command } from 'commander'
import { adminSubcommands } from './account-admin.ts'
import { createSubcommand, inviteSubcommand } from './account-create.ts'
import { friendsSubcommand } from './account-friends.ts'
import { recoverSubcommand, rotateSubcommand } from './account-rotate.ts'

export function accountCommand(): Command {
  const command = new Command('account').description('the life of accounts at our own key repository')
  const all = [
    createSubcommand(),
    inviteSubcommand(),
    ...adminSubcommands(),
    rotateSubcommand(),
    recoverSubcommand(),
    friendsSubcommand(),
  ]
  for (const one of all) command.addCommand(one)
  return command
}
