import { test } from 'tap'
import { isFree, PortPicker, preferredPort } from '../src/ports.js'
import { takenPort } from './world.js'

test('a port that someone listens on is not free', async (t) => {
  t.equal(await isFree(await takenPort(t)), false)
})

test('the next port after a taken one is another one', async (t) => {
  const taken = await takenPort(t)
  const next = await new PortPicker().next(taken)
  t.ok(next > taken)
  t.equal(await isFree(next), true)
})

test('no port is handed out twice', async (t) => {
  const picker = new PortPicker()
  const first = await picker.any()
  t.equal(await picker.take(first), false)
  t.not(await picker.next(first), first)
})

test('the usual ports of the stores are never handed out', async (t) => {
  const picker = new PortPicker()
  for (const port of [6379, 3306, 2379]) t.not(await picker.next(port), port)
})

test('a data folder prefers the same ports every time, and another folder others', async (t) => {
  t.equal(preferredPort('/a'), preferredPort('/a'))
  t.not(preferredPort('/a'), preferredPort('/b'))
})
