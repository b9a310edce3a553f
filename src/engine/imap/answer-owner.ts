/** Which of several sealed messages under way a FETCH answer is of, before all of it is there. Source: RFC 9051 §7.5.2. */
import { parseAnswerStart } from './response.ts'
import type { SealedAnswer } from './sealed-answer.ts'

/**
 * Whose literal follows? Messages ask as many questions as each needs, so answers come in the order of the questions,
 * not of the messages: the answer itself must say. With UID FETCH it may tell its UID behind the literal only: then
 * the question asked first is the one answered, and the whole answer shows whether it was.
 */
export function ownerOf(answers: readonly SealedAnswer[], text: Buffer): SealedAnswer | null {
  const waiting = answers
    .map((answer) => ({ answer, tag: answer.awaits(text) }))
    .filter((each): each is { answer: SealedAnswer; tag: string } => each.tag !== null)
  if (waiting.length === 0) return null
  const start = parseAnswerStart(text)
  const own = waiting.find(({ answer }) => answer.owns(start) === true)
  if (own !== undefined) return own.answer
  const [first] = waiting
    .filter(({ answer }) => answer.owns(start) === null)
    .sort((a, b) => orderOf(a.tag) - orderOf(b.tag))
  return first?.answer ?? null
}

/** Our tags count up. */
function orderOf(tag: string): number {
  return Number(tag.replace(/\D+/, ''))
}
