import { writeFileSync } from 'node:fs'
import { test } from 'tap'
import { dataFolder, prepareData } from '../src/data.js'
import { identify, isRunning, signal } from '../src/process.js'
import { type Child, endInOrder, readState, stillRunning, writeState } from '../src/state.js'
import { folder, idleProcess, until } from './world.js'

test('what is written down is read back', async (t) => {
  const data = dataFolder(folder(t))
  const children: Child[] = [{ name: 'redis', instance: 'redis', pid: 1, start: 'x', ports: { client: 2 } }]
  writeState(data, { children, urls: { api: 'http://a', websocket: 'ws://b' } })
  t.same(readState(data), { children, urls: { api: 'http://a', websocket: 'ws://b' } })
})

test('no state is an empty one', async (t) => {
  t.same(readState(dataFolder(folder(t))), { children: [] })
})

test('a damaged state is refused with the name of the file', async (t) => {
  const data = dataFolder(folder(t))
  writeFileSync(data.state, '{"children": [')
  t.throws(() => readState(data), { message: data.state })
  writeFileSync(data.state, '{"children": [{"pid": "12"}]}')
  t.throws(() => readState(data), { message: data.state })
})

test('a pid that belongs to another process now is neither running nor ended', async (t) => {
  const other = idleProcess(t)
  const now = identify(other.pid)
  t.ok(now)
  const before: Child = { name: 'api', instance: 'api-1', pid: other.pid, start: '1@an-earlier-boot', ports: {} }
  t.same(stillRunning([before]), [])
  t.equal(signal(before, 'SIGKILL'), false)
  await endInOrder([before], () => undefined)
  t.ok(now && isRunning(now), 'the innocent process still runs')
})

test('a process that has ended is not running, reaped or not', async (t) => {
  const child = idleProcess(t)
  const who = identify(child.pid)
  if (!who) throw new Error('it does not run')
  child.kill('SIGKILL')
  await until('it is gone', () => !isRunning(who))
  t.equal(identify(child.pid), undefined)
})

test('a data folder that is a file is refused in one sentence', async (t) => {
  const path = `${folder(t)}/data`
  writeFileSync(path, '')
  t.throws(() => prepareData(dataFolder(path)), { name: 'Failure', message: /is, or lies below, a file: move it away/ })
  t.throws(() => prepareData(dataFolder(`${path}/below`)), { name: 'Failure', message: /is, or lies below, a file/ })
})
