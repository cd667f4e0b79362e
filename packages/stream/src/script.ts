/** Lua scripts: EVALSHA first, and the whole text when Redis does not know it (after a restart, a failover or SCRIPT FLUSH). */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command } from 'ioredis'
import { onServerOf } from './cluster.js'
import type { Connection, Redis } from './redis.js'
import { toCommand, type Word, type Written, write } from './resp.js'

/** Replicas that must have what a script wrote, and how long to wait for them. */
export interface Replicas {
  count: number
  waitMs: number
}

export interface Script {
  /** @param keys at least one; on a cluster all of one partition */
  run(redis: Redis, keys: readonly string[], args: readonly Word[]): Promise<unknown>
  /** The same with words that are written already. */
  runWritten(redis: Redis, call: WrittenCall): Promise<unknown>
  /**
   * The same, and then waits for replicas.
   * @returns what the script answered, and how many replicas have all that its connection has written
   */
  runReplicated(redis: Redis, call: WrittenCall, replicas: Replicas): Promise<{ answer: unknown; reached: number }>
}

export interface WrittenCall {
  /** One of its keys, by which its server is found. */
  key: string
  keys: Written
  args: Written
}

/** A call as bytes: ioredis would copy, transform and count each of its words, and keep them all with the error of one that fails. */
class ScriptCall extends Command {
  readonly #bytes: Buffer

  /** @param script its digest, or for `eval` its text */
  constructor(name: 'evalsha' | 'eval', script: string, { keys, args }: WrittenCall) {
    super(name, [], { replyEncoding: 'utf8' })
    this.#bytes = toCommand(write([name, script, keys.words]), keys, args)
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
    call: WrittenCall,
    withAnswer: (connection: Connection, answer: Promise<unknown>) => Promise<T>,
  ): Promise<T> {
    return await onServerOf(redis, call.key, async (connection) => {
      try {
        return await withAnswer(connection, send(connection, new ScriptCall('evalsha', sha, call)))
      } catch (error) {
        // Redis did not run anything: sending it again cannot do it twice.
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        return await withAnswer(connection, send(connection, new ScriptCall('eval', text, call)))
      }
    })
  }

  const runWritten = (redis: Redis, call: WrittenCall): Promise<unknown> =>
    evaluate(redis, call, (_connection, answer) => answer)

  return {
    run: (redis, keys, args) => runWritten(redis, { key: keys[0]!, keys: write(keys), args: write(args) }),
    runWritten,
    runReplicated: (redis, call, { count, waitMs }) =>
      evaluate(redis, call, async (connection, answer) => {
        // Sent right behind the script: WAIT counts what its own connection wrote, and after a cut that would be nothing.
        const [given, reached] = await Promise.all([answer, connection.wait(count, waitMs)])
        return { answer: given, reached }
      }),
  }
}

const send = (connection: Connection, command: ScriptCall): Promise<unknown> =>
  connection.sendCommand(command) as Promise<unknown>

/** Where a script of the calling module's package lies. @param module the caller's `import.meta.url`, compiled in dist/src */
export const scriptFile = (name: string, module: string): URL => new URL(`../../src/${name}`, module)
