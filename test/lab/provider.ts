/** The sandbox provider for a test file: started once, in a temporary folder, stopped and removed after its tests. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type Provider, type ProviderUser, startProvider } from '../../src/cli/sandbox/provider.ts'

export const LAB_USERS: readonly ProviderUser[] = ['alice', 'bob', 'carol'].map((name) => ({
  name,
  password: `${name}-provider-password`,
}))

/** Of each user's account at the provider, by name. */
export const LAB_PASSWORDS = Object.fromEntries(LAB_USERS.map(({ name, password }) => [name, password]))

export async function labProvider(users = LAB_USERS): Promise<Provider> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-'))
  chmodSync(directory, 0o755)
  const provider = await startProvider({ directory, domain: 'lab.test', users })
  after(async () => {
    await provider.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  return provider
}
