import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import t, { type Test } from 'tap'
import { createWatch } from '../src/watch.js'
import { type Fake, fakeNode } from './fake-node.js'
import { until } from './until.js'

const log = createLogger({ app: 'connect', instance: 'test', level: 'silent' })
const is = (user: string, online: boolean) => ({ op: 'presence' as const, user, online })

/** A node, and a world in which everybody but strangers shares a conversation. */
function setUp(t: Test, over: { lookEveryMs?: number; afterNodeMs?: number } = {}) {
  const online = new Set<string>()
  const strangers = new Set<string>()
  const looked: (readonly string[])[] = []
  const world = { online, strangers, looked, away: false, asked: 0, held: undefined as Promise<void> | undefined }
  const node = fakeNode((session) => watch.forget(session))
  const watch = createWatch({
    logic: {
      async presence({ users = [] }) {
        world.asked++
        const people = users
          .filter((user) => !strangers.has(user))
          .map((user) => ({ user, online: online.has(user), devices: 0, lastSeen: 0 }))
        await world.held
        return { people }
      },
    },
    live: {
      async of(users) {
        looked.push(users)
        if (world.away) throw new AppError('unavailable')
        return users.map((user) => (online.has(user) ? 1 : 0))
      },
    },
    lookEveryMs: 60_000,
    ...over,
    log,
  })
  t.after(() => watch.stop())
  return { world, watch, ...node }
}
/** Everything that was begun is done: nothing here takes longer than some turns. */
const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await delay(0)
}

t.test('who watches is told at once who is online, then what changes', async (t) => {
  const { world, watch, connect } = setUp(t)
  const alice = connect('alice')
  world.online.add('bob')
  world.strangers.add('eve')
  await watch.watch(alice.session, ['bob', 'carol', 'eve'])
  t.same(alice.shown(), [is('bob', true), is('carol', false)], 'strangers are left out')
  watch.event(is('carol', true))
  watch.event(is('carol', true))
  watch.event(is('eve', true))
  watch.event(is('dave', true))
  t.same(alice.shown(), [is('carol', true)], 'once, and only of those who are watched')
  world.online.delete('bob')
  watch.event(is('bob', false))
  await turns()
  t.same(alice.shown(), [is('bob', false)])
})

t.test('somebody who left one node and is on another is not told to be offline', async (t) => {
  const { world, watch, connect } = setUp(t)
  const alice = connect('alice')
  world.online.add('bob')
  await watch.watch(alice.session, ['bob'])
  alice.shown()
  watch.event(is('bob', false))
  await turns()
  t.same([alice.shown(), world.looked], [[], [['bob']]])
  world.away = true
  world.online.delete('bob')
  watch.event(is('bob', false))
  await turns()
  t.same(alice.shown(), [], 'and not while nobody knows')
  world.away = false
  watch.lookAgain()
  await turns()
  t.same(alice.shown(), [is('bob', false)], 'it is found later')
})

t.test('a list replaces the one before; an empty one, and the end of the session, end it', async (t) => {
  const { world, watch, connect } = setUp(t)
  const [alice, other] = [connect('alice'), connect('alice', { device: 'other' })]
  await watch.watch(alice.session, ['bob', 'carol', 'carol'])
  await watch.watch(other.session, ['bob'])
  await watch.watch(alice.session, ['carol', 'dave'])
  t.equal(watch.size, 3)
  alice.shown()
  for (const user of ['bob', 'carol', 'dave']) watch.event(is(user, true))
  t.same(alice.shown(), [is('carol', true), is('dave', true)])
  await watch.watch(alice.session, [])
  t.equal(watch.size, 1)
  t.same(alice.shown(), [])
  other.session.close(1000, 'gone')
  t.equal(watch.size, 0)
  t.equal(world.asked, 3)
})

t.test('of lists that come fast only the newest is in force', async (t) => {
  const { world, watch, connect } = setUp(t)
  const alice = connect('alice')
  let answer = (): void => {}
  world.held = new Promise((resolve) => {
    answer = resolve
  })
  const lists = [['bob'], ['carol'], ['dave']].map((users) => watch.watch(alice.session, users))
  answer()
  await Promise.all(lists)
  t.same(alice.shown(), [is('dave', false)])
  t.equal(watch.size, 1)
  world.held = new Promise((resolve) => {
    answer = resolve
  })
  const last = watch.watch(alice.session, ['erin'])
  alice.session.close(1000, 'gone')
  answer()
  await last
  t.equal(watch.size, 0, 'whose session has gone meanwhile watches nobody')
})

t.test('what changes while the first answer is on its way is not missed', async (t) => {
  const { world, watch, connect } = setUp(t)
  const alice = connect('alice')
  let answer = (): void => {}
  world.held = new Promise((resolve) => {
    answer = resolve
  })
  const begun = watch.watch(alice.session, ['bob'])
  await until('it is asked', () => world.asked === 1)
  world.online.add('bob')
  watch.event(is('bob', true))
  answer()
  await begun
  t.same(alice.shown(), [is('bob', false), is('bob', true)])
})

t.test('somebody whom thousands watch: one look-up, and one frame for all', async (t) => {
  const { world, watch, connect } = setUp(t)
  world.online.add('star')
  const fans: Fake[] = []
  for (let i = 0; i < 2_000; i++) fans.push(connect(`fan${i}`))
  for (const { session } of fans) await watch.watch(session, ['star'])
  for (const fan of fans) fan.shown()
  t.equal(watch.size, 1)
  const shown = new Set<unknown>()
  for (const { session } of fans) {
    const show = session.show
    Object.defineProperty(session, 'show', {
      value: (frame: string) => {
        shown.add(frame)
        show(frame)
      },
    })
  }
  world.online.delete('star')
  watch.event(is('star', false))
  await turns()
  t.ok(fans.every((fan) => fan.shown().length === 1))
  t.same([world.looked, shown.size], [[['star']], 1])
})

t.test('changes that nobody told of are found, after a node is gone and every so often', async (t) => {
  const told = async ({ world, watch, connect }: ReturnType<typeof setUp>, lose: () => void): Promise<void> => {
    const alice = connect('alice')
    world.online.add('bob')
    await watch.watch(alice.session, ['bob'])
    alice.shown()
    world.online.delete('bob')
    lose()
    await until('she is told', () => {
      alice.session.flush()
      return alice.socket.frames.length > 0
    })
    t.same(alice.shown(), [is('bob', false)])
  }
  await told(setUp(t, { lookEveryMs: 5 }), () => {})
  const node = setUp(t, { afterNodeMs: 5 })
  node.watch.nodes(new Map([['connect-2', { bootId: 'a' }]]))
  node.watch.nodes(
    new Map([
      ['connect-2', { bootId: 'a' }],
      ['connect-3', { bootId: 'b' }],
    ]),
  )
  t.same(node.world.looked, [], 'one more is no reason to look')
  await told(node, () =>
    node.watch.nodes(
      new Map([
        ['connect-2', { bootId: 'c' }],
        ['connect-3', { bootId: 'b' }],
      ]),
    ),
  )
})
