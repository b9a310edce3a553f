import { contract } from './contract.ts'
import { inMemory } from './harness.ts'

contract('SQLite', () => inMemory())
