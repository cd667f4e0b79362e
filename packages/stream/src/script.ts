/** Lua scripts: EVALSHA first, and the whole text when Redis does not know it (after a restart, a failover or SCRIPT FLUSH). */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from './redis.js'

export interface Script {
  run(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
}

/** @param file a .lua file beside the sources of this package */
export function loadScript(file: string): Script {
  const text = readFileSync(new URL(`../../src/${file}`, import.meta.url), 'utf8')
  const sha = createHash('sha1').update(text).digest('hex')
  return {
    async run(redis, keys, args) {
      try {
        return await redis.evalsha(sha, keys.length, ...keys, ...args)
      } catch (error) {
        // Redis did not run anything: sending it again cannot do it twice.
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        return await redis.eval(text, keys.length, ...keys, ...args)
      }
    },
  }
}
