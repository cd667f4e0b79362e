import t from 'tap'
import { Copies } from '../src/load/copies.js'

t.test('a copy goes with its receipt, and only with its own', async (t) => {
  const copies = new Copies()
  for (const seq of [1, 2, 3]) copies.accepted('dm:a:b', seq)
  copies.accepted('dm:a:c', 1)
  copies.stored('dm:a:b', 2)
  t.same(
    [1, 2, 3].map((seq) => copies.has('dm:a:b', seq)),
    [false, false, true],
  )
  t.ok(copies.has('dm:a:c', 1))
})

t.test('what was called void is kept, however far receipts go later', async (t) => {
  const copies = new Copies()
  for (const seq of [7, 1_000_000_001]) copies.accepted('dm:a:b', seq)
  copies.forgotten('dm:a:b', 7, 1_000_000_000)
  copies.stored('dm:a:b', 1_000_000_001)
  t.ok(copies.has('dm:a:b', 7))
  t.notOk(copies.has('dm:a:b', 1_000_000_001))
})

t.test('a later session says nothing of what an earlier one sent', async (t) => {
  const copies = new Copies()
  copies.accepted('dm:a:b', 1)
  copies.cut()
  copies.accepted('dm:a:b', 2)
  copies.stored('dm:a:b', 2)
  t.ok(copies.has('dm:a:b', 1))
})
