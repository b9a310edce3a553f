/**
 * Counts and differences of an oracle run; the form of the JSON is fixed (design/commands.md).
 */
import { writeFileSync } from 'node:fs'

export interface Difference {
  readonly file: string
  readonly question: string
  readonly detail: string
}

export class Report {
  questions = 0
  same = 0
  appendFailed = 0
  connectionsLost = 0
  readonly differences: Difference[] = []
  readonly #shown: number

  /** @param shown this many differences go to the screen at once */
  constructor(shown = 20) {
    this.#shown = shown
  }

  compare(file: string, question: string, direct: Buffer, other: Buffer): void {
    this.questions++
    if (direct.equals(other)) this.same++
    else this.differ(file, question, describe(direct, other))
  }

  /** The question counts as asked. */
  differ(file: string, question: string, detail: string): void {
    this.differences.push({ file, question, detail })
    if (this.differences.length <= this.#shown) console.log(`DIFFERS ${file}\n  ${question}\n  ${detail}`)
  }

  get holds(): boolean {
    return this.same === this.questions && this.appendFailed === 0 && this.connectionsLost === 0 && this.questions > 0
  }

  print(): void {
    const percent = this.questions === 0 ? 0 : (100 * this.same) / this.questions
    console.log(`questions ${this.questions}, same ${this.same} (${percent.toFixed(3)} %)`)
    console.log(`append failed ${this.appendFailed}, connections lost ${this.connectionsLost}`)
  }

  write(path: string): void {
    const { questions, same, appendFailed, connectionsLost, differences } = this
    writeFileSync(path, `${JSON.stringify({ questions, same, appendFailed, connectionsLost, differences }, null, 1)}\n`)
  }
}

/** The place of the first difference, with what stands around it on both sides. */
function describe(direct: Buffer, other: Buffer): string {
  let at = 0
  while (at < direct.length && direct[at] === other[at]) at++
  const show = (bytes: Buffer): string => JSON.stringify(bytes.toString('latin1', Math.max(0, at - 60), at + 60))
  return `at octet ${at} (${direct.length}/${other.length}): direct ${show(direct)} other ${show(other)}`
}
