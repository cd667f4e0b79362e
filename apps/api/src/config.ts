/** What api reads from the environment. */
import { EDGE_SETTINGS, type EdgeConfig } from '@tidings/accept'
import { ConfigError, readEnv } from '@tidings/service'

const NAMES = [
  ...EDGE_SETTINGS,
  'TIDINGS_HOST',
  'TIDINGS_API_PORT',
  'TIDINGS_ORIGINS',
  'TIDINGS_TRUST_PROXY',
  'TIDINGS_OPS_HOST',
  'TIDINGS_OPS_PORT',
  'TIDINGS_LOG_LEVEL',
  'TIDINGS_OTLP_URL',
] as const

export interface ApiConfig {
  edge: EdgeConfig
  host: string
  port: number
  /** Web origins whose pages may call. */
  origins: readonly string[]
  /** Networks of the proxies in front, in CIDR notation. */
  trustProxy: readonly string[]
  ops: { host: string; port: number }
  logLevel: string
  otlpUrl: string | undefined
}

function required<T>(name: string, value: T | undefined): T {
  if (value === undefined)
    throw new ConfigError(`${name} is not set. npm start sets it; set it yourself where you run api alone.`)
  return value
}

/** @throws ConfigError */
export function readConfig(environment: NodeJS.ProcessEnv): ApiConfig {
  const env = readEnv(environment, NAMES)
  return {
    edge: {
      redisUrl: required('TIDINGS_REDIS_URL', env.TIDINGS_REDIS_URL),
      etcdUrls: required('TIDINGS_ETCD_URL', env.TIDINGS_ETCD_URL),
      namespace: env.TIDINGS_NAMESPACE,
      partitions: env.TIDINGS_PARTITIONS,
      instance: env.TIDINGS_INSTANCE ?? `api-${process.pid}`,
      nodeLeaseS: env.TIDINGS_NODE_LEASE_S,
      jwtSecret: required('TIDINGS_JWT_SECRET', env.TIDINGS_JWT_SECRET),
      jwtPublicKey: env.TIDINGS_JWT_PUBLIC_KEY,
      jwksUrl: env.TIDINGS_JWKS_URL,
      jwtIssuer: env.TIDINGS_JWT_ISSUER,
      jwtAudience: env.TIDINGS_JWT_AUDIENCE,
      accessTokenS: env.TIDINGS_ACCESS_TOKEN_S,
      serviceTokens: env.TIDINGS_SERVICE_TOKENS,
      acceptReplicas: env.TIDINGS_ACCEPT_REPLICAS,
    },
    host: env.TIDINGS_HOST,
    port: env.TIDINGS_API_PORT,
    origins: env.TIDINGS_ORIGINS,
    trustProxy: env.TIDINGS_TRUST_PROXY,
    ops: { host: env.TIDINGS_OPS_HOST, port: env.TIDINGS_OPS_PORT },
    logLevel: env.TIDINGS_LOG_LEVEL,
    otlpUrl: env.TIDINGS_OTLP_URL,
  }
}
