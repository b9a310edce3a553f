import { Command } from 'commander'

export function aclCommand(): Command {
  return new Command('acl')
}
