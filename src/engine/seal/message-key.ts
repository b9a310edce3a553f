/**
 * The key of one message, and the two questions about it that sealing and opening ask of the outside.
 * (message-format.md §1, §2, §4)
 */

export type CipherAlgo = 'AES256GCM1K' | 'AES256GCMp' | 'AES256CFB' | 'NULL'

/** A message's content cipher: `algo` and its key string (message-format.md §2). Never logged. */
export interface MessageKey {
  readonly algo: CipherAlgo
  /** The key string's octets, e.g. 32 key ‖ 12 seed for AES256GCM1K. */
  readonly keyString: Buffer
}

/** Asked once per message, at the root's blank line: make the item and share it. */
export interface SealKeyAsk {
  /** Message id without angle brackets; made by the sealer when the message had none. */
  readonly messageId: string
  /** Header recipients (To, Cc, Bcc of the root), lower-cased addresses with display names; envelope recipients are known outside. */
  readonly headerRecipients: readonly { readonly address: string; readonly name: string | null }[]
}

export interface SealKeyAnswer {
  readonly key: MessageKey
  /** `ves://vesmail/…` of the item. */
  readonly uri: string
  /** Value of X-VESmail-Xchg (without the name), or null (message-format.md §4). */
  readonly xchg: string | null
  /** Value of X-VESmail-Verify, or null. */
  readonly verify: string | null
}

/** Asked once per message, at the end of the root's headers. The answer is refused with ITEM_UNAVAILABLE where the key is not shared. */
export interface OpenKeyAsk {
  readonly messageId: string
  /** Value of X-VESmail-Xchg if the message has one. */
  readonly xchg: string | null
}

export interface OpenKeyAnswer {
  readonly key: MessageKey
}
