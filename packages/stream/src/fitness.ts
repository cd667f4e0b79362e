/** Whether a Redis can hold the streams, from what it says of itself. */
import { ConfigError } from '@tidings/service'
import { serversOf } from './cluster.js'
import type { Redis } from './redis.js'

/** `name:value` lines of INFO. */
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

/** @throws ConfigError in one line, when it cannot be used; an error of Redis when it does not answer */
export async function checkRedis(redis: Redis): Promise<void> {
  const infos = await Promise.all(serversOf(redis).map((server) => server.info()))
  const [fault] = infos.flatMap((info) => redisFaults(parseInfo(info)))
  if (fault) throw new ConfigError(`TIDINGS_REDIS_URL: this Redis ${fault}`)
}
