/** Lua scripts: EVALSHA first, and the whole text when Redis does not know it (after a restart, a failover or SCRIPT FLUSH). */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from './redis.js'

export interface Script {
  run(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>
}

/** @param file a .lua file; it lies beside the sources, two folders above the compiled code: `scriptFile('x.lua', import.meta.url)` */
export function loadScript(file: URL): Script {
  const text = readFileSync(file, 'utf8')
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

/** Where a script of the calling module's package lies. @param module the caller's `import.meta.url`, compiled in dist/src */
export const scriptFile = (name: string, module: string): URL => new URL(`../../src/${name}`, module)
