/** `vesmail decrypt`: one message through the opener; what is not encrypted comes out as it went in. */
import { Command } from 'commander'
import { Opener } from '../engine/seal/opener.ts'
import { UsageError } from './exit.ts'
import { type FilterOptions, runFilter, withFilterOptions } from './filter.ts'

export function decryptCommand(): Command {
  return withFilterOptions(new Command('decrypt')).description('decrypt a message; stdin to stdout').action(decrypt)
}

async function decrypt(options: FilterOptions): Promise<void> {
  if (options.token !== undefined) throw new UsageError('decrypt needs the VESkey (-u): a token opens no keys')
  await runFilter(options, ({ session, config }) => ({
    transform: new Opener({ maxbufOctets: config.maxbuf }),
    answers: {
      'open-key': async ({ messageId, xchg }) => ({ key: await session.messageKey(messageId, xchg) }),
    },
  }))
}
