import { setTimeout as delay } from 'node:timers/promises'
import type { PresenceEvent } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import t from 'tap'
import { createPresence, type Presence } from '../src/presence.js'
import { fakeNode } from './fake-node.js'
import { until } from './until.js'

const log = createLogger({ app: 'connect', instance: 'test', level: 'silent' })

function setUp(calmMs: number) {
  const said: PresenceEvent[] = []
  const saved: string[] = []
  const saves: number[] = []
  const { sessions, connect } = fakeNode(({ user }) => presence.ended(user))
  const presence: Presence = createPresence({
    sessions,
    publish: (event) => void said.push(event),
    save: async (seen) => {
      saves.push(seen.size)
      saved.push(...seen.keys())
    },
    calmMs,
    log,
  })
  return {
    said,
    saved,
    saves,
    presence,
    come(user: string, device = 'd') {
      const { session } = connect(user, { device })
      presence.began(user)
      return () => session.close(1000, 'gone')
    },
    async heard(events: number) {
      await until(`${events} were told`, () => said.length >= events)
      return said.splice(0)
    },
  }
}
const is = (user: string, online: boolean): PresenceEvent => ({ op: 'presence', user, online })

t.test('the first session and the last one are told of, not those between', async (t) => {
  const { said, saved, come, heard } = setUp(10)
  const leave = [come('alice')]
  t.same(await heard(1), [is('alice', true)])
  leave.push(come('alice', 'second'))
  leave[0]!()
  come('bob')
  t.same(await heard(1), [is('bob', true)], 'nothing of alice, who was here all the while')
  leave[1]!()
  t.same(await heard(1), [is('alice', false)])
  t.same([said, saved], [[], ['alice', 'bob', 'alice']])
})

t.test('a connection that flaps is told of once, however often, when it is over', async (t) => {
  const { said, saved, come, heard } = setUp(200)
  const leave = come('alice')
  t.same(await heard(1), [is('alice', true)])
  saved.splice(0)
  leave()
  for (let i = 0; i < 20; i++) {
    come('alice')()
    await delay(2)
  }
  come('alice')
  // Was here for a moment: who asked in that moment hears that it was no more than that.
  come('carol')()
  t.same(await heard(2), [is('alice', true), is('carol', false)])
  t.same([said, saved], [[], ['alice', 'carol']])
})

t.test('where many come, they are told and written a few times together', async (t) => {
  const { saves, come, heard } = setUp(200)
  for (let i = 0; i < 50; i++) {
    come(`u${i}`)
    await delay(4)
  }
  t.equal((await heard(50)).length, 50)
  t.ok(saves.length <= 10, `${saves.length} times`)
})

t.test('of many, each is told when its own time has come', async (t) => {
  const { come, heard } = setUp(20)
  for (let i = 0; i < 50; i++) {
    come(`u${i}`)
    if (i % 10 === 0) await delay(3)
  }
  t.same(
    (await heard(50)).map(({ user }) => user),
    Array.from({ length: 50 }, (_, i) => `u${i}`),
  )
})

t.test('a node that stops writes at once when its users were last here', async (t) => {
  const { said, saved, come, presence } = setUp(60_000)
  come('alice')()
  come('bob')
  await presence.stop()
  t.same([said, saved], [[], ['alice', 'bob']])
})
