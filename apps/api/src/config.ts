/** What api reads from the environment. */
import { join, resolve } from 'node:path'
import { EDGE_SETTINGS, type EdgeConfig, readEdgeConfig } from '@tidings/accept'
import { readEnv, type Settings } from '@tidings/service'
import type { RateSettings } from './rates.js'

const NAMES = [
  ...EDGE_SETTINGS,
  'TIDINGS_HOST',
  'TIDINGS_API_PORT',
  'TIDINGS_ORIGINS',
  'TIDINGS_TRUST_PROXY',
  'TIDINGS_ADMIN_KEYS',
  'TIDINGS_ADMIN_ADDRESSES',
  'TIDINGS_RATE_LIMITS',
  'TIDINGS_SENDS_PER_S',
  'TIDINGS_CALLS_PER_S',
  'TIDINGS_SERVICE_CALLS_PER_S',
  'TIDINGS_ADDRESS_CALLS_PER_S',
  'TIDINGS_LOGINS_PER_MIN',
  'TIDINGS_REGISTERS_PER_MIN',
  'TIDINGS_DATA_DIR',
  'TIDINGS_FILES_DIR',
  'TIDINGS_FILE_MAX_BYTES',
  'TIDINGS_FILE_TYPES',
  'TIDINGS_FILE_UPLOAD_S',
  'TIDINGS_FILE_ORPHAN_S',
  'TIDINGS_OPS_HOST',
  'TIDINGS_OPS_PORT',
  'TIDINGS_LOG_LEVEL',
  'TIDINGS_OTLP_URL',
  'TIDINGS_VAPID_PUBLIC_KEY',
] as const

export interface ApiConfig {
  edge: EdgeConfig
  host: string
  port: number
  /** Web origins whose pages may call. */
  origins: readonly string[]
  /** Networks of the proxies in front, in CIDR notation. */
  trustProxy: readonly string[]
  adminKeys: Settings['TIDINGS_ADMIN_KEYS']
  /** Networks from which operators may call, in CIDR notation. */
  adminAddresses: readonly string[]
  /** Undefined: nothing is limited. */
  rates: RateSettings | undefined
  /** `folder` is absolute. */
  files: { folder: string; maxBytes: number; types: readonly string[]; uploadMs: number; orphanMs: number }
  ops: { host: string; port: number }
  logLevel: string
  otlpUrl: string | undefined
  /** Undefined: there is no Web Push. */
  vapidPublicKey: string | undefined
}

/** @throws ConfigError */
export function readConfig(environment: NodeJS.ProcessEnv): ApiConfig {
  const env = readEnv(environment, NAMES)
  return {
    edge: readEdgeConfig(env, 'api'),
    host: env.TIDINGS_HOST,
    port: env.TIDINGS_API_PORT,
    origins: env.TIDINGS_ORIGINS,
    trustProxy: env.TIDINGS_TRUST_PROXY,
    adminKeys: env.TIDINGS_ADMIN_KEYS,
    adminAddresses: env.TIDINGS_ADMIN_ADDRESSES,
    rates:
      env.TIDINGS_RATE_LIMITS === 'off'
        ? undefined
        : {
            sendsPerS: env.TIDINGS_SENDS_PER_S,
            callsPerS: env.TIDINGS_CALLS_PER_S,
            servicePerS: env.TIDINGS_SERVICE_CALLS_PER_S,
            addressPerS: env.TIDINGS_ADDRESS_CALLS_PER_S,
            loginsPerMin: env.TIDINGS_LOGINS_PER_MIN,
            registersPerMin: env.TIDINGS_REGISTERS_PER_MIN,
          },
    files: {
      folder: resolve(env.TIDINGS_FILES_DIR ?? join(env.TIDINGS_DATA_DIR, 'files')),
      maxBytes: env.TIDINGS_FILE_MAX_BYTES,
      types: env.TIDINGS_FILE_TYPES,
      uploadMs: env.TIDINGS_FILE_UPLOAD_S * 1_000,
      orphanMs: env.TIDINGS_FILE_ORPHAN_S * 1_000,
    },
    ops: { host: env.TIDINGS_OPS_HOST, port: env.TIDINGS_OPS_PORT },
    logLevel: env.TIDINGS_LOG_LEVEL,
    otlpUrl: env.TIDINGS_OTLP_URL,
    vapidPublicKey: env.TIDINGS_VAPID_PUBLIC_KEY,
  }
}
