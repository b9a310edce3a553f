/** The bounds and choices of a repository, with what they stop. */

export interface Settings {
  /** Domains besides `demo` and `x-…` in which vaults and items may be made. */
  readonly domains: readonly string[]
  /** Origins of browsers that may ask; `*` for all: there are no cookies, a token is needed either way. */
  readonly origins: readonly string[]
  /** Without a session a request is a lookup: a large one is an attack on the parser. */
  readonly maxStrangerBodyOctets: number
  readonly maxBodyOctets: number
  readonly maxEntriesPerItem: number
  /** Keys a user may have or have made for others and that are not moved yet. */
  readonly maxKeysPerUser: number
  readonly maxTempKeysPerUser: number
  /** Temp keys of one sender for one name: parallel first mails make one each. */
  readonly maxTempKeysPerName: number
  readonly maxSessionsPerKey: number
  readonly requestsPerSecondPerAddress: number
  readonly requestBurstPerAddress: number
  readonly requestsPerSecondPerUser: number
  readonly requestBurstPerUser: number
  /** Peers that are not counted: the gateway's own machine asks for all of its users. A proxy there says for whom. */
  readonly uncountedAddresses: readonly string[]
  /** Between `attn` questions of one session that came along with other requests. */
  readonly attnEveryMs: number
  readonly onboardingPerAddressPerDay: number
  readonly onboardingPerPeerPerHour: number
  /** Do those without an account hear by mail that someone wrote to them? */
  readonly invite: boolean
  /** One sender's: an account that was taken over is no mail cannon. */
  readonly invitesPerUserPerHour: number
  readonly minRecoveryDelaySeconds: number
}

export const DEFAULT_SETTINGS: Settings = {
  domains: ['vesmail'],
  origins: ['*'],
  maxStrangerBodyOctets: 16 * 1024,
  maxBodyOctets: 8 * 1024 * 1024,
  maxEntriesPerItem: 5000,
  maxKeysPerUser: 200,
  maxTempKeysPerUser: 100_000,
  maxTempKeysPerName: 8,
  maxSessionsPerKey: 1000,
  requestsPerSecondPerAddress: 50,
  requestBurstPerAddress: 500,
  requestsPerSecondPerUser: 500,
  requestBurstPerUser: 5000,
  uncountedAddresses: ['127.0.0.1', '::1', ''],
  attnEveryMs: 30_000,
  onboardingPerAddressPerDay: 3,
  onboardingPerPeerPerHour: 10,
  invite: true,
  invitesPerUserPerHour: 60,
  minRecoveryDelaySeconds: 86_400,
}
