/** What the figures were measured on. */
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { parseRedisUrl } from '@tidings/service'
import type { RowDataPacket } from 'mysql2/promise'
import { asRecord } from '../data.js'
import { withMysql } from '../mysql.js'
import type { StoreUrls } from '../plan.js'
import { withRedis } from '../redis.js'

export interface Machine {
  cpu: string
  cores: number
  memoryGib: number
  system: string
  node: string
  redis: string
  mysql: string
  etcd: string
}

/** Describes the machine, and asks the stores that there are for their versions. */
export async function describeMachine(urls: Partial<StoreUrls>): Promise<Machine> {
  const { TIDINGS_REDIS_URL: redisUrl, TIDINGS_MYSQL_URL: mysqlUrl, TIDINGS_ETCD_URL: etcdUrl } = urls
  const [redis, mysql, etcd] = await Promise.all([
    redisUrl &&
      withRedis(serverOf(redisUrl), async (client) => /redis_version:(\S+)/.exec(await client.info('server'))?.[1]),
    mysqlUrl &&
      withMysql(mysqlUrl, async (connection) => {
        const [rows] = await connection.query<(RowDataPacket & { v: string })[]>('SELECT VERSION() AS v')
        return rows[0]?.v
      }),
    etcdUrl && etcdVersion(etcdUrl),
  ])
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.versions.node,
    redis: redis || 'not used',
    mysql: mysql || 'not used',
    etcd: etcd || 'not used',
  }
}

/** One server of a cluster: they are all of a kind. */
function serverOf(redisUrl: string): string {
  const first = parseRedisUrl(redisUrl)?.addresses[0]
  return first ? `redis://${first.host}:${first.port}` : redisUrl
}

async function etcdVersion(url: string): Promise<string | undefined> {
  const answer = await fetch(`${url}/version`, { signal: AbortSignal.timeout(2_000) })
  const { etcdserver } = asRecord(await answer.json())
  return typeof etcdserver === 'string' ? etcdserver : undefined
}
