/** The suites that look at how things grow: routes, growth, horizontal, and the heaps of the soak. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { contentOf } from '../src/bench/checker.js'
import type { Run } from '../src/bench/figures.js'
import { CURVE_NAMES, curvesNamed, curvesOf, pointsOf } from '../src/bench/growth.js'
import { resourcesOf } from '../src/bench/health.js'
import { compareHeaps, heapOf, readHeaps, snapshotFlags } from '../src/bench/heap.js'
import { horizontalPoints, rowsOf } from '../src/bench/horizontal.js'
import { timeReference } from '../src/bench/micro-timing.js'
import { parseOptions } from '../src/bench/options.js'
import { plotOf, writePlot } from '../src/bench/plot.js'
import { SessionPlan } from '../src/bench/routes-plan.js'
import { onOneInstance, warmedUp } from '../src/bench/series.js'
import { renderCurve, renderHorizontal } from '../src/bench/series-table.js'
import { speedsOf } from '../src/bench/speed.js'

const run = (cpuTotal: number, messages = 100): Run => ({
  messages,
  seconds: 1,
  perSecond: messages,
  drainMs: 1,
  latency: { p50: 1, p99: 2, max: 3 },
  cpu: { api: cpuTotal / 2, redis: cpuTotal / 2 },
  cpuTotal,
  generatorCpu: 10,
  io: {},
  othersPercent: 0,
  window: [0, 1],
})
const pointAt = (at: number, cpuTotal: number, referenceNs = 1_000) => ({ at, run: run(cpuTotal), referenceNs })
const loadOf = (name: string, one: Run) => ({ name, shown: one, runs: [one] })

test('sessions are spread so that one node has its share, and its users come back elsewhere', async (t) => {
  const plan = new SessionPlan(100_000)
  t.equal(plan.nodes, 5)
  t.equal(plan.users, 80_000)
  t.ok(Math.abs(plan.mortal.length - 20_000) < 500, `${plan.mortal.length} on the node that dies`)
  let two = 0
  const wrong: number[] = []
  for (let user = 0; user < plan.users; user++) {
    const all = plan.nodesOf(user, 'all')
    if (all.length === 2) two++
    const alive = all.filter((node) => node !== 'connect-1').join()
    const back = plan.nodesOf(user, 'back')
    if (plan.nodesOf(user, 'dead').join() !== alive || back.length === 0 || back.includes('connect-1')) wrong.push(user)
  }
  t.same(wrong, [])
  t.ok(two > 10_000, 'some have sessions on two nodes')
  t.ok(plan.sessions - plan.users - two > 5_000, 'some have two on one')
})

test('the suites that take long are asked for by name, with what is varied and where pictures go', async (t) => {
  t.equal(parseOptions(['--suite', 'routes', '--sessions', '1000000']).scale.routeSessions, 1_000_000)
  const { curves, plots } = parseOptions(['--suite', 'growth', '--curves', 'payload,nodes', '--plots', 'docs/growth'])
  t.same(curves, ['nodes', 'payload'])
  t.equal(plots, 'docs/growth')
  t.same(parseOptions(['--suite', 'growth']).curves, CURVE_NAMES)
  t.throws(() => curvesNamed('nodes,rooms'), { name: 'Failure', exitCode: 2, message: /no curve "rooms"/ })
})

test('points that need the same instance share one, and nobody of one is known to the other', async (t) => {
  for (const name of CURVE_NAMES) {
    const points = pointsOf(name, false)
    t.equal(new Set(points.map(({ crowd }) => crowd)).size, points.length, name)
  }
  t.equal(onOneInstance(pointsOf('payload', false)).length, 1)
  t.equal(onOneInstance(pointsOf('nodes', false)).length, 4)
  t.match(
    warmedUp(pointsOf('payload', true)).map(({ crowd }) => crowd),
    ['warm-growth-payload-140', 'growth-payload-140', 'growth-payload-4096'],
    'the first of a curve has no colder start than the others',
  )
  t.equal(warmedUp(pointsOf('nodes', true).slice(0, 1)).length, 1)
  t.equal(warmedUp(onOneInstance(horizontalPoints())[0]!).length, 5)
  const horizontal = onOneInstance(horizontalPoints())
  t.same(
    horizontal.map((points) => points.map(({ crowd }) => crowd)),
    Array.from({ length: 4 }, () => ['direct-64', 'direct-256', 'direct-512', 'direct-960', 'batch']),
  )
})

test('content is of the size that is asked for, up to the largest', async (t) => {
  for (const bytes of [50, 140, 1_024, 16_384]) {
    t.equal(contentOf(1_234_567, bytes).length, bytes)
    t.match(JSON.parse(contentOf(1_234_567, bytes)), { i: 1_234_567 })
  }
})

test('costs are told as on a machine of one speed', async (t) => {
  const points = [pointAt(1, 100, 1_000), pointAt(2, 200, 2_000), pointAt(4, 50, 500)]
  t.same(
    points.map(({ run: { cpuTotal } }, i) => cpuTotal * speedsOf(points)[i]!),
    [100, 100, 100],
  )
  t.same(speedsOf([]), [])
  t.ok((await timeReference()) > 0)
})

test('a curve becomes a table and a picture', async (t) => {
  const curve = {
    curve: 'backlog',
    axis: 'entries',
    points: [pointAt(0, 100), pointAt(1_000, 150), pointAt(1_000_000, 240)],
  }
  t.match(renderCurve(curve), [/entries/, /^backlog .*at one speed$/, /^0 .*100\.0$/, /^1000 /, /^1000000 .*240\.0$/])
  const svg = plotOf(curve)
  t.equal(svg.match(/<polyline/g)?.length, 8, 'the total and each process')
  t.match(svg, />1000<[\s\S]*>1 M</)
  const places = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)])
  const [nothing, some, most] = places as [number[], number[], number[]]
  t.ok(nothing[0]! < some[0]! && some[0]! < most[0]!, 'what is more stands further to the right')
  t.ok(nothing[1]! > some[1]! && some[1]! > most[1]!, 'what is dearer stands higher')
  t.ok(places.every(([x, y]) => x! > 0 && x! < 720 && y! > 0 && y! < 380))
  const folder = mkdtempSync(join(tmpdir(), 'tidings-plot-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writePlot(folder, curve)
  t.equal(readFileSync(join(folder, 'backlog.svg'), 'utf8'), svg)
})

test('storing a backlog is a curve of its own, over what was stored', async (t) => {
  const [live, drain] = curvesOf('backlog', [
    {
      point: { suite: 'direct', crowd: 'a', at: 1_000 },
      figures: {
        suite: 'direct',
        loads: [loadOf('direct', run(100)), loadOf('drain', run(20, 5_000))],
        faults: [],
        referenceNs: 1_000,
      },
    },
  ])
  t.match(live, { curve: 'backlog', points: [{ at: 1_000, run: { cpuTotal: 100 } }] })
  t.match(drain, { curve: 'drain', points: [{ at: 5_000, run: { cpuTotal: 20 } }] })
})

test('the table over shards and processes has a row for each', async (t) => {
  const figures = (cpuTotal: number) => ({ faults: [], referenceNs: 1_000, loads: [loadOf('x', run(cpuTotal))] })
  const rows = rowsOf(
    horizontalPoints().map((point, i) => ({ point, figures: { suite: point.suite, ...figures(i + 1) } })),
  )
  t.same(
    rows.filter(({ load }) => load === 'batch').map(({ shards, processes }) => [shards, processes]),
    [
      [1, 1],
      [1, 2],
      [3, 1],
      [3, 2],
    ],
  )
  t.equal(renderHorizontal(rows).length, 21)
})

test('a heap snapshot is added up by kind, and two are held against each other', async (t) => {
  const strings = ['', 'Map', 'Session', 'some text']
  const snapshot = (nodes: number[]) =>
    heapOf(
      JSON.stringify({
        snapshot: {
          meta: { node_fields: ['type', 'name', 'id', 'self_size'], node_types: [['object', 'string'], 'string'] },
        },
        nodes,
        strings,
      }),
    )
  const before = snapshot([0, 1, 1, 1_024, 1, 3, 2, 2_048])
  t.same(
    [...before],
    [
      ['Map', { count: 1, bytes: 1_024 }],
      ['(string)', { count: 1, bytes: 2_048 }],
    ],
  )
  const after = snapshot([0, 1, 1, 1_024, 0, 2, 2, 5_120, 0, 2, 3, 5_120, 1, 3, 4, 3_072])
  t.same(compareHeaps(new Map([['api', before]]), new Map([['api', after]])), {
    api: {
      beforeMib: 3_072 / 2 ** 20,
      afterMib: 14_336 / 2 ** 20,
      grown: [
        { kind: 'Session', count: 2, kib: 10 },
        { kind: '(string)', count: 0, kib: 1 },
      ],
    },
  })
})

test('a process tells what is in its heap when it is asked, and goes on', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-heap-'))
  const program = `
    class Kept { constructor(i) { this.i = i } }
    globalThis.kept = Array.from({ length: 1000 }, (_, i) => new Kept(i))
    require('node:http').createServer((_, answer) => answer.end('ok')).listen(0, '127.0.0.1', function () {
      console.log(this.address().port)
    })`
  const child = spawn(process.execPath, [...snapshotFlags(folder), '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })
  const [port] = (await once(child.stdout, 'data')) as [Buffer]
  const ops = `http://127.0.0.1:${String(port).trim()}`
  const processes = [
    { name: 'app', pid: child.pid!, ops },
    { name: 'redis', pid: 1 },
  ]
  for (let look = 0; look < 2; look++) {
    const heaps = await readHeaps(processes, folder)
    t.same([...heaps.keys()], ['app'], 'a store has no such heap')
    t.equal(heaps.get('app')!.get('Kept')!.count, 1_000)
  }
  t.equal((await fetch(ops)).status, 200)
  t.same(readdirSync(folder), [], 'nothing is left')
})

test("timers are counted from an app's metrics, and sockets are not", async (t) => {
  const line = (type: string, n: number) => `nodejs_active_resources{type="${type}",app="api",instance="api-1"} ${n}`
  const metrics = [
    '# TYPE nodejs_active_resources gauge',
    line('Timeout', 7),
    line('TCPSocketWrap', 99),
    line('FSReq', 2),
  ]
  t.equal(resourcesOf([...metrics, 'nodejs_active_resources_total{app="api"} 108'].join('\n')), 9)
})
