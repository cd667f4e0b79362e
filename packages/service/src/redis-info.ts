/** Whether a Redis can hold the streams, from what it says of itself. */

/** The `name:value` lines of INFO. */
export function parseInfo(text: string): Map<string, string> {
  return new Map(
    text.split(/\r?\n/).flatMap((line) => (line.includes(':') ? [line.split(/:(.*)/, 2) as [string, string]] : [])),
  )
}

/** What keeps this Redis from being used, each as the end of a sentence that begins with its name. @param info from INFO */
export function redisFaults(info: ReadonlyMap<string, string>): string[] {
  const faults: string[] = []
  const version = info.get('redis_version') ?? '0'
  if (Number.parseInt(version, 10) < 7) faults.push(`is version ${version}: give one of version 7.0 or newer.`)
  if (info.get('role') !== 'master') faults.push('is a replica: give the URL of the primary.')
  const policy = info.get('maxmemory_policy')
  if (policy && policy !== 'noeviction') {
    faults.push(
      `evicts keys when it is full (${policy}), which loses messages: run CONFIG SET maxmemory-policy noeviction.`,
    )
  }
  return faults
}
