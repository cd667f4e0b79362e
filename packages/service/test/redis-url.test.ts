import t from 'tap'
import { parseRedisUrl } from '../src/index.js'

t.test('one server, a primary behind sentinels, a cluster', async (t) => {
  t.same(parseRedisUrl('redis://127.0.0.1'), {
    kind: 'single',
    addresses: [{ host: '127.0.0.1', port: 6379 }],
    primary: '',
    username: undefined,
    password: undefined,
    tls: false,
  })
  t.match(parseRedisUrl('rediss://app:p%40ss@redis.example.com:7000/2?family=6'), {
    kind: 'single',
    addresses: [{ host: 'redis.example.com', port: 7000 }],
    username: 'app',
    password: 'p@ss',
    tls: true,
  })
  t.match(parseRedisUrl('redis+sentinel://:secret@a,b:26380,[::1]:26381/main'), {
    kind: 'sentinel',
    addresses: [
      { host: 'a', port: 26379 },
      { host: 'b', port: 26380 },
      { host: '::1', port: 26381 },
    ],
    primary: 'main',
    username: undefined,
    password: 'secret',
  })
  t.match(parseRedisUrl('rediss+cluster://a:1,b:2'), {
    kind: 'cluster',
    addresses: [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ],
    tls: true,
  })
})

t.test('what is none of these', async (t) => {
  const wrong = [
    '',
    'a:1',
    'http://a',
    'redis://a:1,b:2',
    'redis+cluster://a:1/0',
    'redis+sentinel://a:1',
    'redis+other://a:1',
  ]
  for (const url of [
    ...wrong,
    'redis+cluster://',
    'redis+cluster://a:0',
    'redis+cluster://a:1,,b:2',
    'redis+cluster://a b',
  ])
    t.equal(parseRedisUrl(url), undefined, url)
})
