/** Contract, promise 1 and 3: who repeats a send with its clientId gets the first answer, whatever has changed since. */
import t from 'tap'
import { type TestUser, world } from '../src/index.js'

interface Sent {
  id?: string
  duplicate?: boolean
  code?: string
}

t.test('a file that was forwarded and then deleted by its owner', async (t) => {
  const w = await world(t)
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const headers = { authorization: `Bearer ${alice.token}`, 'content-type': 'text/plain', 'x-file-name': 'plan.txt' }
  const uploaded = await fetch(`${w.apis[0]}/api/v1/files`, { method: 'POST', headers, body: 'the plan' })
  const { file } = (await uploaded.json()) as { file: Record<string, unknown> }
  const { url, size, mediaType, name } = file
  const send = (from: TestUser, to: TestUser, clientId: string) => {
    const body = { to: { user: to.name }, type: 'file', content: { url, size, mediaType, name }, clientId }
    return w.http<Sent>('POST', 'messages', { token: from.token, body })
  }
  t.equal((await send(alice, bob, 'c-1')).status, 202)
  const first = await send(bob, carol, 'c-2')
  t.equal(first.status, 202)
  const gone = await w.http('DELETE', String(url).replace('/api/v1/', ''), { token: alice.token })
  t.equal(gone.status, 204)
  t.match(await send(bob, carol, 'c-3'), { status: 404, body: { code: 'file_not_found' } }, 'not any more')
  t.match(await send(bob, carol, 'c-2'), { status: 202, body: { id: first.body.id, duplicate: true } }, 'but it was')
})
