/** What the figures were measured on. */
import { availableParallelism, cpus, release, totalmem } from 'node:os'
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

/** Describes the machine, and asks the stores for their versions. */
export async function describeMachine(urls: StoreUrls): Promise<Machine> {
  const [redis, mysql, etcd] = await Promise.all([
    withRedis(urls.TIDINGS_REDIS_URL, async (client) => /redis_version:(\S+)/.exec(await client.info('server'))?.[1]),
    withMysql(urls.TIDINGS_MYSQL_URL, async (connection) => {
      const [rows] = await connection.query<(RowDataPacket & { v: string })[]>('SELECT VERSION() AS v')
      return rows[0]?.v
    }),
    etcdVersion(urls.TIDINGS_ETCD_URL),
  ])
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    system: `${process.platform} ${release()} ${process.arch}`,
    node: process.versions.node,
    redis: redis ?? 'unknown',
    mysql: mysql ?? 'unknown',
    etcd: etcd ?? 'unknown',
  }
}

async function etcdVersion(url: string): Promise<string | undefined> {
  const answer = await fetch(`${url}/version`, { signal: AbortSignal.timeout(2_000) })
  const { etcdserver } = asRecord(await answer.json())
  return typeof etcdserver === 'string' ? etcdserver : undefined
}
