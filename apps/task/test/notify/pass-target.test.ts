/** Of what a pass tells. */
import { optionsText } from '@tidings/protocol'
import type { Pass, Store } from '@tidings/store'
import t from 'tap'
import { createPassTargets } from '../../src/notify/pass-target.js'
import { world } from '../world.js'

const AFTER_MS = 60_000
const { redis, keys, store, persister, append } = await world(t)
const targets = createPassTargets({ store, redis, keys, afterMs: AFTER_MS, withText: true })
const ago = (ms: number) => ({ sentAt: Date.now() - ms })

function pass(conversation: string, over: Partial<Pass>): Pass {
  return { conversation, firstSeq: 1, seq: 1, newestAt: Date.now(), passSeq: 0, afterUser: '', fence: 1, ...over }
}

t.test('the newest that every device has had its time for, however busy the room is', async (t) => {
  const c = 'room:0123456789abcdef'
  const of = [await append(c, 1, ago(120_000)), await append(c, 2, ago(70_000)), await append(c, 3, ago(10_000))]
  t.match(await targets.of(pass(c, { seq: 3, newestAt: Date.now() - 70_000 })), { later: Date }, 'not stored yet')
  await persister.handle(of)
  t.match(await targets.of(pass(c, { seq: 3 })), { target: { seq: 2, preview: 'number 2', from: 'alice' } })
  const young = of[2]!.entry.sentAt
  const { later } = (await targets.of(pass(c, { firstSeq: 3, seq: 3, newestAt: young }))) as { later: Date }
  t.equal(later.getTime(), young + AFTER_MS, 'when it has had its time')
})

t.test('a pass that runs goes on with its entry, and ends when there is nothing to tell any more', async (t) => {
  const c = 'room:1123456789abcdef'
  const urgent = { options: optionsText({ expiresAt: Date.now() + 60_000, priority: 'high' })! }
  const over = { options: optionsText({ expiresAt: Date.now() - 1 })! }
  await persister.handle([
    await append(c, 1, { ...ago(130_000), ...urgent }),
    await append(c, 2, { ...ago(120_000), ...over }),
    await append(c, 3, ago(110_000)),
  ])
  const found = await targets.of(pass(c, { seq: 3, passSeq: 2 }))
  t.match(found, { target: { seq: 1, urgent: true, expiresAt: Number } }, 'what came before the one that has expired')
  t.equal(await targets.of(pass(c, { firstSeq: 2, seq: 3, passSeq: 2 })), 'nothing')
  t.match(await targets.of(pass(c, { firstSeq: 2, seq: 3 })), { target: { seq: 3 } })
})

t.test('what persist stores while it is looked up is told of, and not taken for nothing', async (t) => {
  const c = 'room:2123456789abcdef'
  const of = [await append(c, 1, ago(120_000)), await append(c, 2, ago(110_000))]
  const due = pass(c, { seq: 2, newestAt: of[1]!.entry.sentAt })
  let asked = 0
  const between: Store = {
    ...store,
    async use(work) {
      const answer = await store.use(work)
      asked++
      if (asked === 1) await persister.handle(of)
      return answer
    },
  }
  const looked = createPassTargets({ store: between, redis, keys, afterMs: AFTER_MS, withText: true })
  t.match(await looked.of(due), { target: { seq: 2 } })
  t.ok(asked > 1, 'it was stored between two reads')
  asked = 1
  t.match(await looked.of({ ...due, passSeq: 2 }), { target: { seq: 2 } })
  t.equal(asked, 2, 'a pass that runs asks for its entry alone')
})

t.end()
