/** Lua scripts: EVALSHA first, and the whole text when Redis does not know it (after a restart, a failover or SCRIPT FLUSH). */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command } from 'ioredis'
import { onServerOf } from './cluster.js'
import type { Connection, Redis } from './redis.js'
import { encode, type Word } from './resp.js'

/** Replicas that must have what a script wrote, and how long to wait for them. */
export interface Replicas {
  count: number
  waitMs: number
}

export interface Script {
  /** @param keys at least one; on a cluster all of one partition */
  run(redis: Redis, keys: readonly string[], args: readonly Word[]): Promise<unknown>
  /**
   * The same, and then waits for replicas.
   * @returns what the script answered, and how many replicas have all that its connection has written
   */
  runReplicated(
    redis: Redis,
    keys: readonly string[],
    args: readonly Word[],
    replicas: Replicas,
  ): Promise<{ answer: unknown; reached: number }>
}

/**
 * A call of append has thousands of words. ioredis would copy, transform and count each of them by itself, and keep them with the error of a
 * call that fails; here they are written once.
 */
class ScriptCall extends Command {
  readonly #bytes: Buffer

  /** @param script its digest, or for `eval` its text */
  constructor(name: 'evalsha' | 'eval', script: string, keys: readonly Word[], args: readonly Word[]) {
    super(name, [], { replyEncoding: 'utf8' })
    this.#bytes = encode([name, script, keys.length, ...keys, ...args])
  }

  override toWritable(): Buffer {
    return this.#bytes
  }
}

/** @param file a .lua file; it lies beside the sources, two folders above the compiled code: `scriptFile('x.lua', import.meta.url)` */
export function loadScript(file: URL): Script {
  const text = readFileSync(file, 'utf8')
  const sha = createHash('sha1').update(text).digest('hex')

  async function evaluate<T>(
    redis: Redis,
    keys: readonly string[],
    args: readonly Word[],
    withAnswer: (connection: Connection, answer: Promise<unknown>) => Promise<T>,
  ): Promise<T> {
    return await onServerOf(redis, keys[0]!, async (connection) => {
      try {
        return await withAnswer(connection, call(connection, new ScriptCall('evalsha', sha, keys, args)))
      } catch (error) {
        // Redis did not run anything: sending it again cannot do it twice.
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        return await withAnswer(connection, call(connection, new ScriptCall('eval', text, keys, args)))
      }
    })
  }

  return {
    run: (redis, keys, args) => evaluate(redis, keys, args, (_connection, answer) => answer),
    runReplicated: (redis, keys, args, { count, waitMs }) =>
      evaluate(redis, keys, args, async (connection, answer) => {
        // Sent right behind the script: WAIT counts what its own connection wrote, and after a cut that would be nothing.
        const [given, reached] = await Promise.all([answer, connection.wait(count, waitMs)])
        return { answer: given, reached }
      }),
  }
}

const call = (connection: Connection, command: ScriptCall): Promise<unknown> =>
  connection.sendCommand(command) as Promise<unknown>

/** Where a script of the calling module's package lies. @param module the caller's `import.meta.url`, compiled in dist/src */
export const scriptFile = (name: string, module: string): URL => new URL(`../../src/${name}`, module)
