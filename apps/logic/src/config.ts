/** What logic reads from the environment. */
import { readEnv, requireSetting } from '@tidings/service'

const NAMES = [
  'TIDINGS_REDIS_URL',
  'TIDINGS_MYSQL_URL',
  'TIDINGS_ETCD_URL',
  'TIDINGS_NAMESPACE',
  'TIDINGS_PARTITIONS',
  'TIDINGS_INSTANCE',
  'TIDINGS_NODE_LEASE_S',
  'TIDINGS_JWT_SECRET',
  'TIDINGS_JWT_PUBLIC_KEY',
  'TIDINGS_JWKS_URL',
  'TIDINGS_ACCESS_TOKEN_S',
  'TIDINGS_REFRESH_TOKEN_S',
  'TIDINGS_REGISTRATION',
  'TIDINGS_DEVICES_PER_USER',
  'TIDINGS_FILE_QUOTA_BYTES',
  'TIDINGS_FILE_ORPHAN_S',
  'TIDINGS_SEARCH',
  'TIDINGS_EDIT_WINDOW_S',
  'TIDINGS_RECALL_WINDOW_S',
  'TIDINGS_RPC_HOST',
  'TIDINGS_RPC_PORT',
  'TIDINGS_OPS_HOST',
  'TIDINGS_OPS_PORT',
  'TIDINGS_LOG_LEVEL',
  'TIDINGS_OTLP_URL',
  'TIDINGS_HOOKS_ALLOW_PRIVATE',
  'TIDINGS_HOOKS_SECRET_OVERLAP_S',
  'TIDINGS_VAPID_PUBLIC_KEY',
] as const

export interface LogicConfig {
  redisUrl: string
  mysqlUrl: string
  etcdUrls: readonly string[]
  namespace: string
  partitions: number
  instance: string
  nodeLeaseS: number
  /** The calls of our own processes are signed with it. */
  jwtSecret: string
  accessTokenS: number
  refreshTokenS: number
  registration: 'open' | 'closed'
  devicesPerUser: number
  /** Bytes that the uploaded files of one user may have; 0: no bound. */
  fileQuotaBytes: number
  fileOrphanS: number
  /** May messages be searched? */
  search: boolean
  editWindowS: number
  recallWindowS: number
  rpc: { host: string; port: number }
  ops: { host: string; port: number }
  logLevel: string
  otlpUrl: string | undefined
  hooks: { allowPrivate: boolean; secretOverlapS: number; webPush: boolean }
}

/** @throws ConfigError */
export function readConfig(environment: NodeJS.ProcessEnv): LogicConfig {
  const env = readEnv(environment, NAMES)
  const outsideKey = env.TIDINGS_JWT_PUBLIC_KEY !== undefined || env.TIDINGS_JWKS_URL !== undefined
  return {
    redisUrl: requireSetting('logic', 'TIDINGS_REDIS_URL', env.TIDINGS_REDIS_URL),
    mysqlUrl: requireSetting('logic', 'TIDINGS_MYSQL_URL', env.TIDINGS_MYSQL_URL),
    etcdUrls: requireSetting('logic', 'TIDINGS_ETCD_URL', env.TIDINGS_ETCD_URL),
    namespace: env.TIDINGS_NAMESPACE,
    partitions: env.TIDINGS_PARTITIONS,
    instance: env.TIDINGS_INSTANCE ?? `logic-${process.pid}`,
    nodeLeaseS: env.TIDINGS_NODE_LEASE_S,
    jwtSecret: requireSetting('logic', 'TIDINGS_JWT_SECRET', env.TIDINGS_JWT_SECRET),
    accessTokenS: env.TIDINGS_ACCESS_TOKEN_S,
    refreshTokenS: env.TIDINGS_REFRESH_TOKEN_S,
    devicesPerUser: env.TIDINGS_DEVICES_PER_USER,
    registration: env.TIDINGS_REGISTRATION ?? (outsideKey ? 'closed' : 'open'),
    fileQuotaBytes: env.TIDINGS_FILE_QUOTA_BYTES,
    fileOrphanS: env.TIDINGS_FILE_ORPHAN_S,
    search: env.TIDINGS_SEARCH === 'on',
    editWindowS: env.TIDINGS_EDIT_WINDOW_S,
    recallWindowS: env.TIDINGS_RECALL_WINDOW_S,
    rpc: { host: env.TIDINGS_RPC_HOST, port: env.TIDINGS_RPC_PORT },
    ops: { host: env.TIDINGS_OPS_HOST, port: env.TIDINGS_OPS_PORT },
    logLevel: env.TIDINGS_LOG_LEVEL,
    otlpUrl: env.TIDINGS_OTLP_URL,
    hooks: {
      allowPrivate: env.TIDINGS_HOOKS_ALLOW_PRIVATE === 'on',
      secretOverlapS: env.TIDINGS_HOOKS_SECRET_OVERLAP_S,
      webPush: env.TIDINGS_VAPID_PUBLIC_KEY !== undefined,
    },
  }
}
