/**
 * Reading what the repository answered: JSON of a peer that may be wrong or hostile, taken apart field by field.
 * Every function throws VES_PARSE with the field's name; nothing is assumed to be there.
 */
import { GatewayError } from '../../base/errors.ts'

export type JsonObject = { readonly [name: string]: unknown }

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** null where the field is absent (or null: some servers write what should be left out). */
export function optionalObject(from: JsonObject, name: string): JsonObject | null {
  const value = from[name]
  if (value === undefined || value === null) return null
  if (!isObject(value)) throw wrong(name)
  return value
}

export function objectAt(from: JsonObject, name: string): JsonObject {
  return optionalObject(from, name) ?? missing(name)
}

/** Absent = empty. One object stands for a list of one (key-repository.md §3: `externals`). */
export function objectsAt(from: JsonObject, name: string): readonly JsonObject[] {
  const value = from[name]
  if (value === undefined || value === null) return []
  if (isObject(value)) return [value]
  if (!Array.isArray(value) || !value.every(isObject)) throw wrong(name)
  return value
}

export function optionalText(from: JsonObject, name: string): string | null {
  const value = from[name]
  if (value === undefined || value === null) return null
  if (typeof value !== 'string') throw wrong(name)
  return value
}

export function textAt(from: JsonObject, name: string): string {
  return optionalText(from, name) ?? missing(name)
}

/** Ids are integers below 2^53 (key-repository.md §2). */
export function idAt(from: JsonObject, name = 'id'): number {
  const value = from[name]
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw wrong(name)
  return value
}

export function optionalId(from: JsonObject, name = 'id'): number | null {
  return from[name] === undefined || from[name] === null ? null : idAt(from, name)
}

/** base64 of encData and encrypted tokens. */
export function octetsAt(from: JsonObject, name: string): Buffer {
  return optionalOctets(from, name) ?? missing(name)
}

export function optionalOctets(from: JsonObject, name: string): Buffer | null {
  const text = optionalText(from, name)
  if (text === null) return null
  if (text.length > 65_535 || !/^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$/.test(text)) throw wrong(name)
  return Buffer.from(text, 'base64')
}

function wrong(name: string): GatewayError {
  return new GatewayError('VES_PARSE', { text: `answer of the key repository: bad ${name}` })
}

function missing(name: string): never {
  throw new GatewayError('VES_PARSE', { text: `answer of the key repository: no ${name}` })
}
