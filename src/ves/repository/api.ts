/** The repository's API as data: no server is known here. `cli/repository.ts` joins it to one. */

export interface ApiRequest {
  /** Upper case. */
  readonly method: string
  /** As sent, still percent-encoded, without the query. */
  readonly path: string
  readonly query: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Of the peer; rate limits count by it. */
  readonly address: string
}

export type Json = string | number | boolean | null | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [name: string]: Json | undefined
}

export interface ApiResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  /** Always a complete JSON object: a 404 without one is "trouble", not "not found", to libVES. */
  readonly body: JsonObject
}
