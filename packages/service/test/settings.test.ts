import { readFileSync } from 'node:fs'
import t from 'tap'
import { ConfigError, readEnv, settingsPage } from '../src/index.js'

t.test('defaults, given values, and an empty value that counts as not given', (t) => {
  const env = readEnv({ TIDINGS_API_PORT: '9000', TIDINGS_CONNECT_PORT: '', PATH: '/bin' }, [
    'TIDINGS_API_PORT',
    'TIDINGS_CONNECT_PORT',
  ])
  t.equal(env.TIDINGS_API_PORT, 9000)
  t.equal(env.TIDINGS_CONNECT_PORT, 8081)
  t.end()
})

t.test('a value that cannot be used is named with the fix, and a secret is not shown', (t) => {
  const cases: [string, string, RegExp][] = [
    ['TIDINGS_API_PORT', 'abc', /TIDINGS_API_PORT="abc" .*whole number from 0 to 65535/],
    ['TIDINGS_API_PORT', '70000', /0 to 65535/],
    ['TIDINGS_JWT_SECRET', 'changeme', /TIDINGS_JWT_SECRET=\(hidden\) .*32 random bytes/],
    ['TIDINGS_JWT_SECRET', 'x'.repeat(31), /hidden/],
    ['TIDINGS_TRUST_PROXY', 'true', /networks such as/],
    ['TIDINGS_TRUST_PROXY', '1', /networks such as/],
    ['TIDINGS_TRUST_PROXY', '10.0.0.0/33', /networks such as/],
    ['TIDINGS_ADMIN_ADDRESSES', 'localhost', /networks such as/],
    ['TIDINGS_ADMIN_KEYS', 'ops:hunter2', /hidden.*32 random bytes/],
    ['TIDINGS_ADMIN_KEYS', `ops:${'x'.repeat(32)},ops:${'y'.repeat(32)}`, /each name once/],
    ['TIDINGS_REDIS_URL', 'http://user:hunter2@x', /hidden.*redis:/],
    ['TIDINGS_REDIS_URL', 'redis+sentinel://:hunter2@a:1,b:2', /hidden.*redis\+sentinel:.*\/name/],
    ['TIDINGS_REDIS_URL', 'redis+cluster://user:hunter2@a:70000', /hidden/],
    ['TIDINGS_SERVICE_TOKENS', 'backend:fly:0123456789abcdef', /scopes of send/],
    ['TIDINGS_REGISTRATION', 'maybe', /open, closed/],
    ['TIDINGS_PARTITIONS', '0', /1 to 1024/],
    ['TIDINGS_ORIGINS', 'app.example.com', /origins such as/],
  ]
  for (const [name, value, message] of cases) {
    t.throws(
      () => readEnv({ [name]: value }, [name as 'TIDINGS_API_PORT']),
      { name: 'ConfigError', message },
      `${name}=${value}`,
    )
    try {
      readEnv({ [name]: value }, [name as 'TIDINGS_API_PORT'])
    } catch (error) {
      t.ok(error instanceof ConfigError && !error.message.includes('hunter2') && !error.message.includes('\n'))
    }
  }
  t.end()
})

t.test('a variable that is not known is refused, with what was meant', (t) => {
  t.throws(() => readEnv({ TIDINGS_API_PRT: '1' }, []), { message: /Did you mean TIDINGS_API_PORT/ })
  t.throws(() => readEnv({ TIDINGS_FROBNICATE: '1' }, []), { message: /docs\/settings.md/ })
  t.end()
})

t.test('docs/settings.md is what `npm run generate` writes', (t) => {
  t.equal(readFileSync(new URL('../../../../docs/settings.md', import.meta.url), 'utf8'), settingsPage())
  t.end()
})
