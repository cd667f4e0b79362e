import t from 'tap'
import { type Flushable, flushLate, flushSoon } from '../src/flush.js'

const turn = () => new Promise(setImmediate)
/** As seen much later in the same turn. */
const LATER = Number.POSITIVE_INFINITY
/** As seen in the moment in which it became due, or before. */
const AT_ONCE = 0

t.test('what is due leaves once, at the end of the turn', async (t) => {
  let flushed = 0
  const one: Flushable = { flush: () => void flushed++ }
  flushSoon(one)
  flushLate(AT_ONCE)
  t.equal(flushed, 0, 'neighbours may follow yet')
  await turn()
  t.equal(flushed, 1)
  await turn()
  flushLate(LATER)
  t.equal(flushed, 1, 'nothing is due')
})

t.test('a turn that takes long does not hold up what was due before, nor what comes behind it', async (t) => {
  const flushed: string[] = []
  flushSoon({ flush: () => void flushed.push('first') })
  flushLate(LATER)
  t.same(flushed, ['first'])
  flushSoon({ flush: () => void flushed.push('second') })
  flushLate(AT_ONCE)
  t.same(flushed, ['first'], 'it has only come')
  await turn()
  t.same(flushed, ['first', 'second'])
})

t.test('one that fails is as loud as a bug should be, and takes no other with it', async (t) => {
  const flushed: string[] = []
  const told: unknown[] = []
  const hear = (error: unknown) => void told.push(error)
  const before = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', hear)
  const bug = new Error('a bug')
  flushSoon({
    flush() {
      throw bug
    },
  })
  flushSoon({ flush: () => void flushed.push('other') })
  for (let i = 0; i < 3; i++) await turn()
  process.off('uncaughtException', hear)
  for (const listener of before) process.on('uncaughtException', listener)
  t.same(flushed, ['other'])
  t.same(told, [bug])
})
