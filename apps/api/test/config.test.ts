/** Settings of the api. */
import { ConfigError } from '@tidings/service'
import { test } from 'tap'
import { readConfig } from '../src/index.js'

const env = {
  TIDINGS_REDIS_URL: 'redis://127.0.0.1:6379',
  TIDINGS_ETCD_URL: 'http://127.0.0.1:2379',
  TIDINGS_JWT_SECRET: 'x'.repeat(32),
}

test('defaults are those of the settings', async (t) => {
  t.match(readConfig(env), {
    edge: { namespace: 'tidings', instance: /^api-\d+$/, accessTokenS: 600 },
    host: '127.0.0.1',
    port: 8080,
    origins: [],
    trustProxy: [],
    vapidPublicKey: undefined,
  })
})

test('what is missing or wrong is named (63, 64, 68, 69)', async (t) => {
  const bad: [string, Record<string, string | undefined>][] = [
    ['TIDINGS_REDIS_URL', { TIDINGS_REDIS_URL: undefined }],
    ['TIDINGS_ETCD_URL', { TIDINGS_ETCD_URL: undefined }],
    ['TIDINGS_JWT_SECRET', { TIDINGS_JWT_SECRET: undefined }],
    ['TIDINGS_JWT_SECRET', { TIDINGS_JWT_SECRET: 'changeme' }],
    ['TIDINGS_API_PORT', { TIDINGS_API_PORT: '70000' }],
    ['TIDINGS_TRUST_PROXY', { TIDINGS_TRUST_PROXY: 'true' }],
    ['TIDINGS_TRUST_PROXY', { TIDINGS_TRUST_PROXY: '1' }],
    ['TIDINGS_API_PROT', { TIDINGS_API_PROT: '1' }],
  ]
  for (const [name, over] of bad) {
    t.throws(() => readConfig({ ...env, ...over }), { name: ConfigError.name, message: new RegExp(`^${name}`) }, name)
  }
})
