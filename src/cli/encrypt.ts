import { Command } from 'commander'

export function encryptCommand(): Command {
  return new Command('encrypt')
}
