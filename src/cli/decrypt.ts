import { Command } from 'commander'

export function decryptCommand(): Command {
  return new Command('decrypt')
}
