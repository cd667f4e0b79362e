import { createHmac, timingSafeEqual } from 'node:crypto'
import t from 'tap'
import { secretsAt, signedHeaders } from '../../src/notify/signature.js'

t.test('a delivery is signed as Standard Webhooks say, and any change of it shows', async (t) => {
  const key = Buffer.from('0123456789abcdef0123456789abcdef')
  const secret = `whsec_${key.toString('base64')}`
  const body = '{"id":"evt_1","event":"message","at":1,"data":{"text":"grüß"}}'
  const headers = signedHeaders([secret], 'evt_1', 1_763_700_000, body)
  t.equal(headers['webhook-id'], 'evt_1')
  t.equal(headers['webhook-timestamp'], '1763700000')

  /** As an endpoint checks it. */
  function isOurs(id: string, at: string, text: string, given: string): boolean {
    const [version, signature = ''] = given.split(',')
    const expected = createHmac('sha256', key).update(`${id}.${at}.${text}`, 'utf8').digest()
    const shown = Buffer.from(signature, 'base64')
    return version === 'v1' && shown.length === expected.length && timingSafeEqual(shown, expected)
  }
  const given = headers['webhook-signature']!
  t.ok(isOurs('evt_1', '1763700000', body, given))
  t.notOk(isOurs('evt_2', '1763700000', body, given))
  t.notOk(isOurs('evt_1', '1763700001', body, given))
  t.notOk(isOurs('evt_1', '1763700000', `${body} `, given))
})

t.test('the example of the specification has its signature', async (t) => {
  const headers = signedHeaders(
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    1_614_265_330,
    '{"test": 2432232314}',
  )
  t.equal(headers['webhook-signature'], 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

t.test('a secret that was replaced signs beside the new one, up to its end', (t) => {
  const until = new Date(5_000)
  const hook = { secret: 'whsec_bmV3', oldSecret: 'whsec_b2xk', oldSecretUntil: until }
  t.same(secretsAt(hook, 4_999), ['whsec_bmV3', 'whsec_b2xk'])
  t.same(secretsAt(hook, 5_000), ['whsec_bmV3'])
  t.same(secretsAt({ ...hook, oldSecret: null, oldSecretUntil: null }, 0), ['whsec_bmV3'])
  const both = signedHeaders(secretsAt(hook, 4_999), 'evt_1', 5, '{}')['webhook-signature']
  const each = ['whsec_bmV3', 'whsec_b2xk'].map((one) => signedHeaders([one], 'evt_1', 5, '{}')['webhook-signature'])
  t.equal(both, each.join(' '))
  t.end()
})
