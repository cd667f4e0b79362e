/** What `npm test` tells the tests of its run. For tests only: apps are given their settings by `main.ts`. */

/** Where a store of the run answers. @throws Error when nobody has said it */
export function given(name: 'TIDINGS_REDIS_URL' | 'TIDINGS_MYSQL_URL' | 'TIDINGS_ETCD_URL'): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run the tests by npm test`)
  return value
}
