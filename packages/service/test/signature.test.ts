import t from 'tap'
import { isSignatureOf, parseLimits, signatureOf, signedHeaders } from '../src/index.js'

const request = { method: 'PUT', target: '/a?b=c', body: '{}', timestamp: '1763700000000', nonce: 'n'.repeat(16) }

t.test('every part of a request is signed', async (t) => {
  const signature = signatureOf('secret', request)
  // Made with openssl from the five lines.
  t.equal(signature, '52ae383dfc5293311d0e8347823a793605cfb13107b0bded7c5afc634aba4c73')
  t.ok(isSignatureOf('secret', request, signature))
  const others = [
    ...[
      { method: 'POST' },
      { target: '/a?b=d' },
      { body: '{ }' },
      { timestamp: '1763700000001' },
      { nonce: 'm'.repeat(16) },
    ],
    // What moves from one line to the next is another text.
    { target: '/a?b=c\n', body: '' },
  ]
  for (const other of others)
    t.notOk(isSignatureOf('secret', { ...request, ...other }, signature), JSON.stringify(other))
  t.notOk(isSignatureOf('another', request, signature))
  for (const bad of ['', signature.slice(1), `${signature}0`, signature.toUpperCase()])
    t.notOk(isSignatureOf('secret', request, bad), bad)
  t.equal(signatureOf('secret', { ...request, body: Buffer.from('{}') }), signature, 'bytes are as good as text')
})

t.test('no two requests have the same nonce', async (t) => {
  const nonces = Array.from(
    { length: 100 },
    () => signedHeaders({ name: 'k', secret: 's' }, request)['x-tidings-nonce'],
  )
  t.equal(new Set(nonces).size, 100)
})

t.test('limits that can be used, and texts that nobody of ours has written', async (t) => {
  t.same(parseLimits('{"sendsPerS":5,"sessionsPerUser":0}'), { sendsPerS: 5, sessionsPerUser: 0 })
  t.same(parseLimits('{}'), {})
  t.same(
    parseLimits('{"sendsPerS":5,"ofTomorrow":"x"}'),
    { sendsPerS: 5, ofTomorrow: 'x' },
    'a newer version may know more',
  )
  for (const bad of [
    '',
    'x',
    '[]',
    '5',
    'null',
    '{"sendsPerS":0}',
    '{"sendsPerS":"5"}',
    '{"sendsPerS":1.5}',
    '{"sendsPerS":1e9}',
  ])
    t.equal(parseLimits(bad), undefined, bad)
})
