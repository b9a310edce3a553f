/** `node:module` for the browser: there is no native addon to load, which the engine takes as it takes a machine without one. */
export function createRequire(): (name: string) => never {
  return (name) => {
    throw Object.assign(new Error(`no ${name} in a browser`), { code: 'MODULE_NOT_FOUND' })
  }
}
