/** Where the contract's tests stand: one repository on the store in question, and people and names made as needed. */
import { after, before } from 'node:test'
import type { Any, Harness, TestAccount } from '../harness.ts'

export const ENTRIES =
  'fields=id,type,meta,file(externals,creator(id,email)),vaultEntries(encData,vaultKey(id,type,user(id),externals))'

export interface Stage {
  /** Set once the suite has begun: to be read within a test. */
  readonly h: Harness
  readonly address: (who: string) => string
  readonly person: (who: string) => Promise<TestAccount>
  readonly mail: () => string
  readonly byName: (externalId: string, domain?: string) => Any
  readonly itemByName: (externalId: string) => Any
}

/** To be called within a suite: opens the store before its tests and closes it after. */
export function setStage(open: () => Promise<Harness>): Stage {
  let opened: Harness | null = null
  let people = 0
  const address = (who: string): string => `${who}${++people}@lab.test`
  const harness = (): Harness => {
    if (opened === null) throw new Error('the suite has not begun')
    return opened
  }
  before(async () => {
    opened = await open()
  })
  after(() => opened?.close())
  return {
    get h() {
      return harness()
    },
    address,
    person: (who) => harness().account(address(who)),
    mail: () => `msg-${++people}@lab.test`,
    byName: (externalId, domain = 'vesmail') => ({ externals: [{ domain, externalId }], $op: 'fetch' }),
    itemByName: (externalId) => ({ file: { externals: [{ domain: 'vesmail', externalId }] }, $op: 'fetch' }),
  }
}
