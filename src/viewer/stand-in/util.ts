/** `node:util` for the browser: the name under which Node asks how a value is to be printed. */
export const inspect = { custom: Symbol.for('nodejs.util.inspect.custom') } as const
