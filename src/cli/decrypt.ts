/** `vesmail decrypt`: one message through the opener; what is not encrypted comes out as it went in. */
import { Command } from 'commander'
import type { TransformAnswers } from '../engine/run-transform.ts'
import { Opener } from '../engine/seal/opener.ts'
import { UsageError } from './exit.ts'
import { type FilterOptions, runFilter, withFilterOptions } from './filter.ts'

export function decryptCommand(): Command {
  return withFilterOptions(new Command('decrypt')).description('decrypt a message; stdin to stdout').action(decrypt)
}

async function decrypt(options: FilterOptions): Promise<void> {
  if (options.token !== undefined) throw new UsageError('decrypt needs the VESkey (-u): a token opens no keys')
  let opener: Opener | null = null
  await runFilter(options, ({ session, config }) => {
    opener = new Opener({ maxbufOctets: config.maxbuf })
    const answers: TransformAnswers = {
      'open-key': async ({ messageId, xchg }) => ({ key: await session.messageKey(messageId, xchg) }),
    }
    return { transform: opener, answers }
  })
  for (const warning of warningsOf(opener as Opener | null)) process.stderr.write(`vesmail: ${warning}\n`)
}

/** What is not an error: all that is sealed of what came is authentic, but it is not all, or not all that came. */
export function warningsOf(opener: Pick<Opener, 'facts'> | null): string[] {
  if (opener === null) return []
  const { missingParts, endMissing, unsealedParts, altered, layoutLost } = opener.facts
  const warnings: string[] = []
  const missing = endMissing ? missingParts - 1 : missingParts
  if (missing > 0) {
    const parts =
      missing === 1
        ? 'a part of the message, as it was sealed, is missing'
        : `${missing} parts of the message, as it was sealed, are missing`
    warnings.push(`warning: ${parts}: taken out on the way, or by a filter`)
  }
  if (endMissing) {
    warnings.push(
      'warning: the end of the message, as it was sealed, is missing: parts may have been taken off, or white space out of it',
    )
  }
  if (unsealedParts > 0) {
    const parts = unsealedParts === 1 ? 'a part of the message was' : `${unsealedParts} parts of the message were`
    warnings.push(`warning: ${parts} not sealed: put in on the way, by a mailing list or by anybody else`)
  }
  if (altered) {
    warnings.push(
      'warning: what stands in plain around the sealed parts (their headers, the text between them) was altered on the way',
    )
  }
  if (layoutLost > 0) {
    const parts = layoutLost === 1 ? 'a large part is' : `${layoutLost} large parts are`
    warnings.push(
      `warning: ${parts} laid out otherwise than before sealing (the content is the same): white space was taken out on the way`,
    )
  }
  return warnings
}
