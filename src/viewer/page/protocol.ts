/** What the page and its worker say to each other. */
import type { Failure, OpenedMail, ViewerConfig } from '../reader.ts'

export type Ask =
  | { readonly do: 'start'; readonly base: string; readonly config: ViewerConfig }
  | { readonly do: 'open'; readonly messageId: string; readonly email: string; readonly veskey: string }
  | { readonly do: 'ask-for-link'; readonly email: string }
  | { readonly do: 'set-up'; readonly email: string; readonly token: string }

export type Told =
  | { readonly on: 'progress'; readonly octets: number; readonly total: number | null }
  | { readonly on: 'opened'; readonly mail: OpenedMail }
  | { readonly on: 'link-sent' }
  | { readonly on: 'set-up'; readonly password: string; readonly recoveryKey: string }
  /** `detail` is for whoever is asked for help; it holds no secret. */
  | { readonly on: 'failed'; readonly failure: Failure; readonly detail: string }
