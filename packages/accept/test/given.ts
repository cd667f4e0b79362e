/** What `npm test` tells the tests of where the stores are. */
export function given(name: 'TIDINGS_REDIS_URL'): string {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set: it names the server to test against.`)
  return value
}
