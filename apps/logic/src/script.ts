/** The Lua scripts of this app, with the failures of Redis in our words. */
import { loadScript as load, type Redis, redisAway, scriptFile } from '@tidings/stream'

/** @throws AppError `unavailable` when Redis is away or refuses */
export type Script = (redis: Redis, keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/** @param file a .lua file beside the sources of this app */
export function loadScript(file: string): Script {
  const script = load(scriptFile(file, import.meta.url))
  return async (redis, keys, args) => {
    try {
      return await script.run(redis, keys, args)
    } catch (error) {
      throw redisAway(error)
    }
  }
}
