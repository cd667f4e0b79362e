/** What task reads from the environment. */
import { ConfigError, readEnv, requireSetting } from '@tidings/service'
import type { Group } from '@tidings/stream'
import type { NotifyConfig } from './notify/notify.js'

const NAMES = [
  'TIDINGS_REDIS_URL',
  'TIDINGS_MYSQL_URL',
  'TIDINGS_ETCD_URL',
  'TIDINGS_NAMESPACE',
  'TIDINGS_PARTITIONS',
  'TIDINGS_INSTANCE',
  'TIDINGS_WORKER_LEASE_S',
  'TIDINGS_TASK_GROUPS',
  'TIDINGS_RETENTION_DAYS',
  'TIDINGS_RETENTION_EVERY_S',
  'TIDINGS_SEARCH',
  'TIDINGS_SEARCH_PER_S',
  'TIDINGS_JWT_SECRET',
  'TIDINGS_OPS_HOST',
  'TIDINGS_OPS_PORT',
  'TIDINGS_LOG_LEVEL',
  'TIDINGS_OTLP_URL',
  'TIDINGS_HOOKS_ALLOW_PRIVATE',
  'TIDINGS_HOOKS_RETRY_FOR_S',
  'TIDINGS_VAPID_PUBLIC_KEY',
  'TIDINGS_VAPID_PRIVATE_KEY',
  'TIDINGS_VAPID_SUBJECT',
  'TIDINGS_WEB_PUSH_AFTER_S',
  'TIDINGS_WEB_PUSH_CONTENT',
] as const

export interface TaskConfig {
  redisUrl: string
  mysqlUrl: string
  etcdUrls: readonly string[]
  namespace: string
  partitions: number
  instance: string
  leaseS: number
  groups: readonly Group[]
  /** `days` 0: entries are kept for ever, unless their room says otherwise. */
  retention: { days: number; everyMs: number }
  /** Undefined: no index of words is kept. */
  search: { perS: number } | undefined
  jwtSecret: string
  ops: { host: string; port: number }
  logLevel: string
  otlpUrl: string | undefined
  notify: NotifyConfig
}

/** @throws ConfigError */
export function readConfig(environment: NodeJS.ProcessEnv): TaskConfig {
  const env = readEnv(environment, NAMES)
  return {
    redisUrl: requireSetting('task', 'TIDINGS_REDIS_URL', env.TIDINGS_REDIS_URL),
    mysqlUrl: requireSetting('task', 'TIDINGS_MYSQL_URL', env.TIDINGS_MYSQL_URL),
    etcdUrls: requireSetting('task', 'TIDINGS_ETCD_URL', env.TIDINGS_ETCD_URL),
    namespace: env.TIDINGS_NAMESPACE,
    partitions: env.TIDINGS_PARTITIONS,
    instance: env.TIDINGS_INSTANCE ?? `task-${process.pid}`,
    leaseS: env.TIDINGS_WORKER_LEASE_S,
    groups: [...new Set(env.TIDINGS_TASK_GROUPS)] as Group[],
    retention: { days: env.TIDINGS_RETENTION_DAYS, everyMs: env.TIDINGS_RETENTION_EVERY_S * 1_000 },
    search: env.TIDINGS_SEARCH === 'on' ? { perS: env.TIDINGS_SEARCH_PER_S } : undefined,
    jwtSecret: requireSetting('task', 'TIDINGS_JWT_SECRET', env.TIDINGS_JWT_SECRET),
    ops: { host: env.TIDINGS_OPS_HOST, port: env.TIDINGS_OPS_PORT },
    logLevel: env.TIDINGS_LOG_LEVEL,
    otlpUrl: env.TIDINGS_OTLP_URL,
    notify: {
      allowPrivate: env.TIDINGS_HOOKS_ALLOW_PRIVATE === 'on',
      retryForMs: env.TIDINGS_HOOKS_RETRY_FOR_S * 1_000,
      retentionDays: env.TIDINGS_RETENTION_DAYS,
      vapid: vapidOf(env.TIDINGS_VAPID_PUBLIC_KEY, env.TIDINGS_VAPID_PRIVATE_KEY, env.TIDINGS_VAPID_SUBJECT),
      webPushAfterMs: env.TIDINGS_WEB_PUSH_AFTER_S * 1_000,
      webPushContent: env.TIDINGS_WEB_PUSH_CONTENT === 'on',
    },
  }
}

function vapidOf(
  publicKey: string | undefined,
  privateKey: string | undefined,
  subject: string,
): NotifyConfig['vapid'] {
  if (publicKey === undefined && privateKey === undefined) return undefined
  if (publicKey !== undefined && privateKey !== undefined) return { publicKey, privateKey, subject }
  throw new ConfigError('TIDINGS_VAPID_PUBLIC_KEY and TIDINGS_VAPID_PRIVATE_KEY are a pair: give both, or neither.')
}
