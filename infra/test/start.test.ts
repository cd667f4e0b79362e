import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import root, { type Test, test } from 'tap'
import { dataFolder } from '../src/data.js'
import { holderOf } from '../src/lock.js'
import { isRunning } from '../src/process.js'
import { type Child, readState } from '../src/state.js'
import type { StatusEntry } from '../src/status.js'
import { command, folder, spawnCommand, until } from './world.js'

const NAMES = ['api', 'connect', 'etcd', 'logic', 'mysql', 'redis', 'task']

/** Starts an instance of its own and waits until it says that it is ready. */
async function start(t: Test, settings: Record<string, string>) {
  const runner = spawnCommand(['start'], settings)
  const ended = once(runner, 'exit')
  let output = ''
  for (const stream of [runner.stdout, runner.stderr]) stream?.on('data', (chunk) => (output += String(chunk)))
  t.teardown(() => runner.kill('SIGKILL'))
  await until(
    'it is ready',
    () => {
      if (runner.exitCode !== null) throw new Error(`it ended with ${runner.exitCode}:\n${output}`)
      return output.includes('/messages -H')
    },
    90_000,
  )
  return { runner, ended, output: () => output }
}

const statusOf = async (settings: Record<string, string>): Promise<StatusEntry[]> => {
  const { code, stdout } = await command(['status'], settings)
  if (code !== 0) throw new Error(`status ended with ${code}`)
  return JSON.parse(stdout)
}

const healthy = async (settings: Record<string, string>): Promise<StatusEntry[] | false> => {
  const entries = await statusOf(settings)
  return entries.length === NAMES.length && entries.every((entry) => entry.health === 'ok') && entries
}

// Four starts on a machine that other tests share.
root.setTimeout(240_000)

test('one command brings up everything, keeps it up, and takes it down', { timeout: 240_000 }, async (t) => {
  const settings = { TIDINGS_DATA_DIR: join(folder(t), 'data'), TIDINGS_API_PORT: '0', TIDINGS_CONNECT_PORT: '0' }
  const data = dataFolder(settings.TIDINGS_DATA_DIR)
  t.teardown(() => command(['stop'], settings))
  const first = await start(t, settings)

  t.test('the ready line names the URLs, and the printed call is accepted', async (t) => {
    const line = /^tidings ready {2}api (\S+) {2}docs (\S+) {2}websocket (ws:\S+)$/m.exec(first.output())
    t.ok(line, 'there is a ready line')
    t.equal((await fetch(line![2]!)).status, 200)
    const curl = /^curl .* (http\S+) -H '(authorization): (.+?)' .* -d '(.+)'$/m.exec(first.output())
    t.ok(curl, 'there is a curl line')
    const answer = await fetch(curl![1]!, {
      method: 'POST',
      headers: { [curl![2]!]: curl![3]!, 'content-type': 'application/json' },
      body: curl![4]!,
    })
    t.equal(answer.status, 202)
  })

  t.test('listen shows the message', async (t) => {
    const listener = spawnCommand(['listen', 'bob'], settings)
    t.teardown(() => listener.kill('SIGKILL'))
    let frames = ''
    listener.stdout?.on('data', (chunk) => (frames += String(chunk)))
    await until('the message is there', () => frames.includes('"content":{"text":"hello"}'))
    listener.kill('SIGINT')
    const [code] = await once(listener, 'exit')
    t.equal(code, 0)
  })

  t.test('status lists every process, and each is well', async (t) => {
    const entries = await until('all are well', () => healthy(settings))
    t.same(entries.map((entry) => entry.name).sort(), NAMES)
  })

  t.test('admin signs a call with the key of this folder', async (t) => {
    const { code, stdout } = await command(['admin', 'GET', '/admin/nodes'], settings)
    t.equal(code, 0, stdout)
    t.match(JSON.parse(stdout), { nodes: [{ app: 'api' }, { app: 'logic' }, { app: 'task' }, { app: 'connect' }] })
    const set = await command(['admin', 'PUT', '/admin/limits', '{"sendsPerS":100}'], settings)
    t.match(set, { code: 0, stderr: /^204/m })
    t.equal((await command(['admin', 'DELETE', '/admin/limits'], settings)).code, 0)
    const gone = await command(['admin', 'GET', '/admin/users/nobody'], settings)
    t.match(gone, { code: 1, stdout: /user_not_found/ })
    t.match(await command(['admin', 'nodes'], settings), { code: 2, stderr: /Usage/ })
  })

  t.test('secrets are for their owner alone, and never printed', async (t) => {
    for (const file of [data.secrets, data.demo, data.state]) t.equal(statSync(file).mode & 0o077, 0, file)
    for (const secret of Object.values(JSON.parse(readFileSync(data.secrets, 'utf8'))))
      t.notOk(first.output().includes(String(secret)))
    for (const secret of Object.values(JSON.parse(readFileSync(data.demo, 'utf8'))))
      t.notOk(first.output().includes(String(secret)))
  })

  t.test('a process that is killed is started again, a store included', async (t) => {
    // As behind `npm start | head`: what the runner says reaches nobody.
    for (const stream of [first.runner.stdout, first.runner.stderr]) stream?.destroy()
    const before = await statusOf(settings)
    for (const name of ['redis', 'connect']) process.kill(before.find((entry) => entry.name === name)!.pid, 'SIGKILL')
    const after = await until(
      'both are back',
      async () => {
        const now = await healthy(settings)
        return now && ['redis', 'connect'].every((name) => pidOf(now, name) !== pidOf(before, name)) && now
      },
      60_000,
    )
    t.equal(pidOf(after, 'mysql'), pidOf(before, 'mysql'))
  })

  t.test('a second start on the same data is refused, and changes nothing', async (t) => {
    const { code, stderr } = await command(['start'], settings)
    t.equal(code, 1)
    t.match(stderr, /Tidings runs already/)
    t.ok(await healthy(settings))
  })

  t.test('SIGTERM ends it all in under five seconds', async (t) => {
    const { children } = readState(data)
    const began = Date.now()
    first.runner.kill('SIGTERM')
    const [code] = await first.ended
    t.equal(code, 0)
    t.ok(Date.now() - began < 5_000, `${Date.now() - began} ms`)
    t.same(children.filter(isRunning), [])
    t.same(await statusOf(settings), [])
  })

  t.test('what a killed runner leaves behind is found by the next start, and by stop', async (t) => {
    const second = await start(t, settings)
    t.match(second.output(), /websocket ws:/)
    second.runner.kill('SIGKILL')
    await second.ended
    const orphans = readState(data).children
    t.equal(orphans.filter(isRunning).length, NAMES.length, 'they run on, but somebody knows them')

    const logic = (): string => readFileSync(join(data.logs, 'logic-1.log'), 'utf8')
    const said = logic().length
    const third = await start(t, settings)
    t.match(third.output(), /stopping what an earlier run left behind/)
    t.same(orphans.filter(isRunning), [])
    t.notMatch(logic().slice(said), /leap/, 'Redis was stopped in order: nothing is forgotten')
    third.runner.kill('SIGKILL')
    await third.ended
    t.equal(holderOf(data), undefined)
    const left: Child[] = readState(data).children
    t.equal((await command(['stop'], settings)).code, 0)
    t.same(left.filter(isRunning), [])
    const before = logic().length
    const fourth = await start(t, settings)
    t.notMatch(logic().slice(before), /leap/, 'nor by stop')
    fourth.runner.kill('SIGTERM')
    await fourth.ended
  })
})

const pidOf = (entries: StatusEntry[], name: string): number | undefined =>
  entries.find((entry) => entry.name === name)?.pid
