/** What is pushed to everyone: one entry, one copy for each node, and for whom it is. */
import t from 'tap'
import { until, world } from '../src/index.js'
import {
  conversations,
  EVERYONE,
  history,
  metric,
  offline,
  push,
  stored,
  streamed,
  TWO,
  texts,
  textsOf,
} from './pushing.js'

t.test(
  'a broadcast is one entry, and one copy for each node; who comes later gets it, who is new does not',
  async (t) => {
    const w = await world(t, TWO)
    const users = await Promise.all(Array.from({ length: 6 }, () => w.user()))
    const clients = await Promise.all(users.map((user, i) => user.connect({ node: i % 2 })))
    const away = await w.user()
    const nodes = ['connect-1', 'connect-2']
    const copies = () => metric(w, nodes, /^tidings_stage_total\{.*stage="deliver".*outcome="ok"/)
    const before = await copies()
    const [one, two] = [await push(w, { all: true }, 'one'), await push(w, { all: true }, 'two', { type: 'x-news' })]
    t.match([one, two], [{ accepted: 1, message: { conversation: EVERYONE, seq: 1 } }, { message: { seq: 2 } }])
    for (const client of clients) {
      await client.until('both', () => client.messages(EVERYONE).length === 2)
      t.same(texts(client, EVERYONE), ['one', 'two'])
    }
    t.equal(await streamed(w, EVERYONE), 2, 'one entry each')
    t.equal((await copies()) - before, 4, 'two entries, two nodes')

    const late = await away.connect({ node: 1 })
    t.same(texts(late, EVERYONE), ['one', 'two'], 'a user who was there already')
    const fresh = await w.user()
    const minted = `outside-${fresh.name}`
    t.equal((await w.http('GET', 'me', { token: w.token(minted) })).status, 200)
    const strangers = [fresh, { ...fresh, name: minted, token: w.token(minted) }]
    t.same((await conversations(w, fresh)).length, 0, 'nothing that is listed')
    for (const stranger of strangers) {
      t.same(await history(w, stranger, EVERYONE), [], 'nothing in its history')
      t.same(await offline(w, stranger, 'device=tv&from=oldest'), [], 'nothing offline, from the oldest on')
    }
    const newest = await fresh.connect({ node: 0, query: '&from=oldest' })
    t.same(newest.messages(), [], 'nothing on a socket, from the oldest on')
    newest.send({ op: 'sync', conversation: EVERYONE, after: 0 })
    await newest.next('synced')
    t.same(newest.messages(), [], 'nothing on its own wish')
    const three = await push(w, { all: true }, 'three')
    await newest.until('the next', () => newest.messages(EVERYONE).length === 1)
    t.same(texts(newest, EVERYONE), ['three'])
    t.match(await conversations(w, fresh), [{ id: EVERYONE, kind: 'feed', unread: 1, read: 2 }])
    t.match(await conversations(w, users[0]!), [{ id: EVERYONE, unread: 3 }])
    await stored(w, EVERYONE, three.message!.seq)
    await w.redis.del(w.keys.log(EVERYONE))
    t.same(textsOf(await history(w, users[1]!, EVERYONE)), ['one', 'two', 'three'], 'from MySQL')

    newest.send({ op: 'read', conversation: EVERYONE, seq: 3 })
    await until('it is read', async () => (await conversations(w, fresh))[0]?.unread === 0)
    t.ok(
      clients.every((client) => client.frames.every(({ op }) => op !== 'receipt')),
      'who has read it is nobody’s business',
    )
    clients[0]!.ack(EVERYONE, 3)
    await until(
      'the ack is there',
      async () => (await w.redis.hget(w.keys.cursor(users[0]!.name, 'default'), EVERYONE)) === '3',
    )
    const back = await users[0]!.connect({ node: 1 })
    t.same(back.messages(), [], 'nothing again after the ack')
  },
)
