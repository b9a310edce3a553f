/** Waiting in tests for what takes a moment and cannot be awaited: delivery, a log line, a worker that goes. */

/** Asks until the answer is there, for half a minute. @throws {Error} it never came */
export async function until<T>(ask: () => Promise<T | null> | T | null): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const answer = await ask()
    if (answer !== null) return answer
    await new Promise((later) => setTimeout(later, 50))
  }
  throw new Error('never came')
}
