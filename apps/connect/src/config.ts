/** What connect reads from the environment. */
import { EDGE_SETTINGS, type EdgeConfig, readEdgeConfig } from '@tidings/accept'
import { readEnv } from '@tidings/service'

const NAMES = [
  ...EDGE_SETTINGS,
  'TIDINGS_HOST',
  'TIDINGS_CONNECT_PORT',
  'TIDINGS_CONNECT_TRANSPORT',
  'TIDINGS_ORIGINS',
  'TIDINGS_RATE_LIMITS',
  'TIDINGS_SENDS_PER_S',
  'TIDINGS_TRUST_PROXY',
  'TIDINGS_CONNECTIONS_PER_USER',
  'TIDINGS_CONNECTIONS_PER_ADDRESS',
  'TIDINGS_SESSIONS_PER_USER',
  'TIDINGS_SESSIONS_POLICY',
  'TIDINGS_HEARTBEAT_MS',
  'TIDINGS_RPC_HOST',
  'TIDINGS_RPC_PORT',
  'TIDINGS_OPS_HOST',
  'TIDINGS_OPS_PORT',
  'TIDINGS_LOG_LEVEL',
  'TIDINGS_OTLP_URL',
] as const

/** What becomes of a session that is one too many. */
export type SessionsPolicy = 'refuse' | 'replace_oldest'

export interface ConnectConfig {
  edge: EdgeConfig
  host: string
  port: number
  transport: 'auto' | 'uws' | 'ws'
  origins: readonly string[]
  rateLimits: boolean
  /** Of a user, over HTTP and WebSockets together. */
  sendsPerS: number
  /** Networks of the proxies in front, in CIDR notation. */
  trustProxy: readonly string[]
  /** On this node, while limits are on. */
  maxPerUser: number
  maxPerAddress: number
  /** On all nodes together; 0: no policy. */
  sessionsPerUser: number
  sessionsPolicy: SessionsPolicy
  heartbeatMs: number
  rpc: { host: string; port: number }
  ops: { host: string; port: number }
  logLevel: string
  otlpUrl: string | undefined
}

/** @throws ConfigError */
export function readConfig(environment: NodeJS.ProcessEnv): ConnectConfig {
  const env = readEnv(environment, NAMES)
  return {
    edge: readEdgeConfig(env, 'connect'),
    host: env.TIDINGS_HOST,
    port: env.TIDINGS_CONNECT_PORT,
    transport: env.TIDINGS_CONNECT_TRANSPORT,
    origins: env.TIDINGS_ORIGINS,
    rateLimits: env.TIDINGS_RATE_LIMITS === 'on',
    sendsPerS: env.TIDINGS_SENDS_PER_S,
    trustProxy: env.TIDINGS_TRUST_PROXY,
    maxPerUser: env.TIDINGS_CONNECTIONS_PER_USER,
    maxPerAddress: env.TIDINGS_CONNECTIONS_PER_ADDRESS,
    sessionsPerUser: env.TIDINGS_SESSIONS_PER_USER,
    sessionsPolicy: env.TIDINGS_SESSIONS_POLICY,
    heartbeatMs: env.TIDINGS_HEARTBEAT_MS,
    rpc: { host: env.TIDINGS_RPC_HOST, port: env.TIDINGS_RPC_PORT },
    ops: { host: env.TIDINGS_OPS_HOST, port: env.TIDINGS_OPS_PORT },
    logLevel: env.TIDINGS_LOG_LEVEL,
    otlpUrl: env.TIDINGS_OTLP_URL,
  }
}
