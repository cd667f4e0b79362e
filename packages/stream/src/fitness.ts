/** Whether the Redis that was given can hold the streams. */
import { ConfigError, parseInfo, redisFaults } from '@tidings/service'
import { serversOf } from './cluster.js'
import type { Redis } from './redis.js'

/** @throws ConfigError in one line, when it cannot be used; an error of Redis when it does not answer */
export async function checkRedis(redis: Redis): Promise<void> {
  const infos = await Promise.all(serversOf(redis).map((server) => server.info()))
  const [fault] = infos.flatMap((info) => redisFaults(parseInfo(info)))
  if (fault) throw new ConfigError(`TIDINGS_REDIS_URL: this Redis ${fault}`)
}
