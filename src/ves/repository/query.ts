/** Parameters of a query. */
import { invalid } from './refuse.ts'

export function numberParameter(query: URLSearchParams, name: string, missing: number): number {
  const text = query.get(name)
  if (text === null) return missing
  if (!/^\d{1,15}$/.test(text)) throw invalid(`${name}: number expected`)
  return Number(text)
}
