import t from 'tap'
import { createSlots } from '../src/slots.js'

t.test('so many run, so many wait, the next is refused; the line moves up in order', async (t) => {
  const slots = createSlots(2, 3)
  const done: number[] = []
  const end = new Map<number, () => void>()
  const start = (i: number): Promise<void> =>
    slots.run(async () => {
      await new Promise<void>((resolve) => end.set(i, resolve))
      done.push(i)
    })
  const all = [0, 1, 2, 3, 4].map(start)
  t.equal(slots.running, 2)
  t.equal(slots.waiting, 3)
  t.equal(slots.full, true)
  await t.rejects(start(5), { code: 'overloaded' })
  for (let i = 0; i < 5; i++) {
    end.get(i)!()
    await all[i]
    t.equal(slots.full, false)
  }
  t.same(done, [0, 1, 2, 3, 4])
  t.equal(slots.running, 0)
  await t.rejects(
    slots.run(() => Promise.reject(new Error('broken'))),
    { message: 'broken' },
  )
  t.equal(slots.running, 0, 'a failure gives its slot back')
})
