import { test } from 'tap'
import { Checker, contentOf } from '../src/bench/checker.js'
import { ratioOf, renderComparison } from '../src/bench/compare.js'
import { parseBusyUs, parseCpuUs, parseOwnKib, parseResidentKib, perUnit, totalOf } from '../src/bench/cpu.js'
import { lackOfRows } from '../src/bench/fanout.js'
import type { LoadFigures, Run } from '../src/bench/figures.js'
import { delayOf, openFiles } from '../src/bench/health.js'
import { ioPerUnit, parseIo } from '../src/bench/io.js'
import { summarize } from '../src/bench/memory.js'
import { innerLoops } from '../src/bench/micro-loops.js'
import { timeLoops } from '../src/bench/micro-timing.js'
import { parseOptions } from '../src/bench/options.js'
import { FULL, type SuiteName } from '../src/bench/order.js'
import { sumSelfTime } from '../src/bench/profile.js'
import { regressions } from '../src/bench/ratios.js'
import type { Report } from '../src/bench/report.js'
import { growth } from '../src/bench/soak.js'
import { LatencyRecorder, middleBy } from '../src/bench/statistics.js'
import { unsettled } from '../src/bench/stored.js'

const A = 'dm:a:s'

/** A checker that knows of messages 0 to count-1, accepted as seq 1 to count of one conversation. */
function checkerWith(count: number): Checker {
  const checker = new Checker()
  for (let i = 0; i < count; i++) checker.accept(checker.send(0, A), A, i + 1)
  return checker
}
const arrive = (checker: Checker, ...indexes: number[]): void => {
  for (const index of indexes) checker.arrive({ receiver: 0, conversation: A, seq: index + 1, index })
}

test('everything once and in order is no fault', async (t) => {
  const checker = checkerWith(3)
  arrive(checker, 0, 1)
  t.equal(checker.complete, false)
  arrive(checker, 2)
  t.equal(checker.complete, true)
  t.same(checker.faults(), [])
})

test('a lost message is found', async (t) => {
  const checker = checkerWith(3)
  arrive(checker, 0, 1)
  t.same(checker.faults(), ['lost: message 2, dm:a:s seq 3'])
})

test('a doubled message is found, and does not stand in for a lost one', async (t) => {
  const checker = checkerWith(2)
  arrive(checker, 0, 0)
  t.equal(checker.complete, false)
  t.match(checker.faults(), [/^doubled: message 0/, /^lost: message 1/])
})

test('a misordered message is found', async (t) => {
  const checker = checkerWith(3)
  arrive(checker, 0, 2, 1)
  t.match(checker.faults(), [/^misordered: dm:a:s shows seq 3 after 1/, /^misordered: dm:a:s shows seq 2 after 3/])
})

test('a message with another seq than its 202, whichever came first, is found', async (t) => {
  const early = new Checker()
  const index = early.send(0, A)
  early.arrive({ receiver: 0, conversation: A, seq: 1, index })
  early.accept(index, A, 2)
  t.match(early.faults(), [/accepted as seq 2 and shown as seq 1/])
  const late = new Checker()
  late.accept(late.send(0, A), A, 2)
  late.arrive({ receiver: 0, conversation: A, seq: 1, index: 0 })
  t.match(late.faults(), [/accepted as seq 2 and shown as seq 1/])
})

test('a message shown to someone else is found', async (t) => {
  const checker = checkerWith(1)
  checker.arrive({ receiver: 7, conversation: A, seq: 1, index: 0 })
  t.match(checker.faults()[0], /to receiver 0 was shown to 7/)
})

test('of many faults the first are told and the rest is counted', async (t) => {
  const faults = checkerWith(100).faults()
  t.equal(faults.length, 11)
  t.equal(faults.at(-1), 'and 90 more')
})

test('content is JSON of one length with the number in it', async (t) => {
  for (const index of [0, 7, 1_234_567]) {
    t.equal(contentOf(index).length, 140)
    t.match(JSON.parse(contentOf(index)), { i: index, text: String })
  }
})

test('percentiles and the maximum are those of what was recorded, once', async (t) => {
  const recorder = new LatencyRecorder()
  for (let ms = 1; ms <= 100; ms++) recorder.record(ms * 1_000)
  const { p50, p99, max } = recorder.take()
  t.ok(Math.abs(p50 - 50) < 0.1)
  t.ok(Math.abs(p99 - 99) < 0.1)
  t.ok(Math.abs(max - 100) < 0.1)
  recorder.record(2_000)
  t.ok(Math.abs(recorder.take().max - 2) < 0.01)
})

test('a stall counts for the messages that a closed loop did not send during it', async (t) => {
  const recorder = new LatencyRecorder()
  // One at a time, each takes 1 ms, for a second; then one takes a second.
  for (let i = 0; i < 1_000; i++) recorder.record(1_000)
  recorder.record(1_000_000)
  t.ok(recorder.peek().p99 < 1.1)
  const { p50, p99, max } = recorder.take(1_000)
  t.ok(p50 < 2)
  t.ok(Math.abs(p99 - 980) < 2, `of the 2,000 that were due a hundredth took ${p99} ms`)
  t.ok(Math.abs(max - 1_000) < 1)
  t.equal(recorder.peek().max, 0)
})

test('the middle run is shown, whatever their order', async (t) => {
  t.equal(
    middleBy([3, 1, 2], (x) => x),
    2,
  )
  t.equal(
    middleBy([4, 1, 2, 3], (x) => x),
    2,
  )
  t.throws(() => middleBy([], () => 0))
})

test('CPU time is read from a stat line whose name holds blanks and parentheses', async (t) => {
  const stat = '4711 (redis server) x)) S 1 4711 4711 0 -1 4194560 900 0 0 0 250 50 7 8 20 0 4 0 12345 1000 200'
  t.equal(parseCpuUs(stat), 3_150_000, 'with that of its children that have ended')
})

test('resident memory is read from a status file', async (t) => {
  const status = 'Name:\tnode\nVmHWM:\t  90000 kB\nVmRSS:\t   81234 kB\nRssAnon:\t 5 kB\n'
  t.equal(parseResidentKib(status), 81_234)
  t.equal(parseOwnKib(status), 5)
})

test('a machine is busy with everything but idling and waiting for a disk', async (t) => {
  t.equal(parseBusyUs('cpu  10 1 20 5000 600 2 3 4 9 9\ncpu0 5 0 10 2500 300 1 1 2 0 0\n'), 400_000)
})

test('bytes and system calls are read from an io file and divided', async (t) => {
  const before = parseIo(
    'rchar: 10\nwchar: 20\nsyscr: 3\nsyscw: 4\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n',
  )
  t.same(before, { reads: 3, writes: 4, bytesRead: 10, bytesWritten: 20 })
  const after = { api: { reads: 13, writes: 24, bytesRead: 110, bytesWritten: 1_020 } }
  t.same(ioPerUnit({ api: before }, after, 10), { api: { reads: 1, writes: 2, bytesRead: 10, bytesWritten: 100 } })
})

test('what was used is divided by process and added up', async (t) => {
  const used = perUnit({ api: 1_000, redis: 500 }, { api: 3_000, redis: 1_500 }, 100)
  t.same(used, { api: 20, redis: 10 })
  t.equal(totalOf(used), 30)
})

test('lag and pending of every group count as unsettled, and a lag that Redis does not know does too', async (t) => {
  const group = (name: string, pending: number, lag: number | null) => ['name', name, 'pending', pending, 'lag', lag]
  t.equal(unsettled([group('push', 0, 0), group('persist', 0, 0)]), 0)
  t.equal(unsettled([group('push', 2, 3), group('persist', 1, 0)]), 6)
  t.equal(unsettled([group('push', 0, null)]), 1)
})

test('self time is summed by function within the windows, without idling', async (t) => {
  const frame = (id: number, functionName: string, url = '', lineNumber = 0) => ({
    id,
    callFrame: { functionName, url, lineNumber },
  })
  const profile = {
    nodes: [
      frame(1, '(root)'),
      frame(2, '(idle)'),
      frame(3, 'parse', 'file:///x/a.js', 9),
      frame(4, '', 'file:///x/b.js'),
    ],
    startTime: 1_000,
    samples: [3, 3, 4, 2, 3],
    timeDeltas: [0, 100, 100, 100, 100],
  }
  const sums = sumSelfTime(profile, [[1_000, 1_350]], (url) => url.replace('file:///x/', ''))
  t.same(
    sums.map(({ where, us }) => [where, us]),
    [
      ['parse a.js:10', 200],
      ['(anonymous) b.js:1', 100],
    ],
  )
  t.equal(Math.round(sums[0]!.percent), 67)
})

test('options name suites, in the order in which they run, and nothing unknown', async (t) => {
  t.same(parseOptions([]).suites, ['direct', 'batch', 'ws-send', 'latency', 'fanout', 'idle'])
  t.same(parseOptions(['--suite', 'idle,direct', '--quick']).suites, ['direct', 'idle'])
  t.throws(() => parseOptions(['--suite', 'speed']), { message: /no suite "speed"/ })
  t.throws(() => parseOptions(['--fast']), { message: /npm run bench -- / })
})

test('a room of which MySQL lacks rows, or has too many, is a fault', async (t) => {
  t.same(lackOfRows(7, 7), [])
  t.same(lackOfRows(6, 7), ['MySQL has 6 rows of 7 accepted messages'])
  t.equal(lackOfRows(8, 7).length, 1)
})

test('a message that was refused and is shown all the same is found', async (t) => {
  const checker = new Checker()
  const index = checker.send(0, A)
  checker.refuse(index)
  t.same(checker.faults(), [], 'a refusal is no fault, and nothing is lost')
  checker.arrive({ receiver: 0, conversation: A, seq: 1, index })
  t.match(checker.faults(), [/^refused, and shown all the same: message 0/])
})

test('memory: the most of each process, and the first minute against the last one', async (t) => {
  const rising = Array.from({ length: 600 }, (_, i) => ({ api: 100 + i, redis: 50 }))
  t.same(summarize(rising), {
    most: { api: 699, redis: 50 },
    first: { api: 129.5, redis: 50 },
    last: { api: 669.5, redis: 50 },
  })
  const short: Record<string, number>[] = [{ api: 1 }, { api: 2 }, { api: 6, task: 9 }]
  t.same(summarize(short), { most: { api: 6, task: 9 }, first: { api: 1 }, last: { api: 6, task: 9 } }, 'thirds')
})

test('the long suites are asked for by name, with their sizes', async (t) => {
  t.same(parseOptions([]).suites, ['direct', 'batch', 'ws-send', 'latency', 'fanout', 'idle'])
  t.ok(parseOptions(['--suite', 'all']).suites.includes('overload'))
  t.equal(parseOptions(['--suite', 'overload']).scale.overloadMs, 60_000)
  t.equal(parseOptions(['--suite', 'overload', '--minutes', '10']).scale.overloadMs, 600_000)
  t.equal(parseOptions(['--suite', 'soak', '--minutes', '30']).scale.soakMs, 1_800_000)
  t.match(parseOptions(['--suite', 'storm', '--connections', '50000', '--rate', '50']).scale, {
    stormConnections: 50_000,
    stormRate: 50,
  })
  t.match(parseOptions(['--suite', 'backlog', '--entries', '1000000']).scale, { backlogEntries: 1_000_000 })
  for (const wrong of [
    ['--minutes', '0'],
    ['--minutes', 'ten'],
    ['--entries', '-1'],
    ['--connections', '100001'],
    ['--rate', '0'],
    ['--suite', 'direct', '--check'],
  ])
    t.throws(() => parseOptions(wrong), { name: 'Failure', exitCode: 2 })
})

/** A report with one load, all of whose figures are those of a machine that is so many times slower, but for the api's CPU. */
function reportOf(slower: number, api: number, name: SuiteName = 'direct'): Report {
  const latency = { p50: slower, p99: 2 * slower, max: 3 * slower }
  const cpu = { api: api * slower, redis: 20 * slower }
  const rates = { messages: 1_000, seconds: slower, perSecond: 1_000 / slower, drainMs: 10 * slower, othersPercent: 0 }
  const shown: Run = {
    ...rates,
    latency,
    cpu,
    cpuTotal: cpu.api + cpu.redis,
    generatorCpu: 10 * slower,
    io: {},
    window: [0, 1],
  }
  const load: LoadFigures = { name, shown, runs: [shown] }
  const suites = [{ suite: name, loads: [load], faults: [] }]
  return {
    at: 'then',
    quick: false,
    profiled: false,
    scale: FULL,
    settings: [],
    machine: undefined,
    suites,
    profiles: {},
  }
}
const cellsOf = (line: string | undefined): string[] => line?.trim().split(/ {2,}/) ?? []

test('a comparison shows ratios, and those to the generator do not follow the speed of the machine', async (t) => {
  const lines = renderComparison(reportOf(1, 20), reportOf(2, 40), 'old.json').map(cellsOf)
  const [head, direct, byLoad] = lines.slice(lines.findIndex(([first]) => first === 'suite'))
  const cell = (row: string[] | undefined, column: string): string | undefined => row?.[head!.indexOf(column)]
  t.equal(cell(direct, 'messages/s'), '0.50')
  t.equal(cell(direct, 'api'), '4.00')
  t.equal(cell(direct, 'redis'), '2.00')
  t.equal(cell(direct, 'p99 ms'), '2.00')
  t.notOk(head!.includes('mysql'), 'a process that neither has')
  t.equal(cell(byLoad, 'messages/s'), '1.00')
  t.equal(cell(byLoad, 'api'), '2.00')
  t.equal(cell(byLoad, 'redis'), '1.00')
  t.equal(ratioOf(3, 0), undefined)
})

test('a comparison says what cannot be compared', async (t) => {
  const text = renderComparison(reportOf(1, 1), { ...reportOf(1, 1, 'batch'), quick: true }, 'old.json').join('\n')
  t.match(text, /not the same: --quick \(false, now true\)/)
  t.match(text, /not in the old file: batch/)
})

test('the inner loops run on the built packages, and each does its work', async (t) => {
  const loops = await innerLoops()
  for (const { name, run } of loops) t.ok((await run()) > 0, name)
  const figures = await timeLoops(loops, { warmUpMs: 1, sliceMs: 1, rounds: 1 })
  t.same(
    figures.map(({ name }) => name),
    ['append packing', 'stream decode', 'frame building', 'sequencer', 'route look-up', 'route'],
  )
  for (const { name, ns, ratio } of figures) t.ok(ns > 0 && ratio > 0, name)
})

test('an inner loop that costs more than 15 % more than its stored ratio is told, and one without', async (t) => {
  const now = [
    { name: 'same', ns: 1, ratio: 0.114 },
    { name: 'dearer', ns: 1, ratio: 0.12 },
    { name: 'new', ns: 1, ratio: 1 },
  ]
  const lines = regressions(now, { same: 0.1, dearer: 0.1, gone: 1 })
  t.match(lines, [/^dearer .*20 % more/, /^new has no stored ratio/])
  t.equal(lines.length, 2)
})

test('a soak finds what has grown, and lets the stores fill their memory', async (t) => {
  const level = (first: Record<string, number>, last: Record<string, number>) => ({ most: last, first, last })
  const grown = [{ kind: 'Map', count: 3, kib: 9 }]
  const heapOf = (beforeMib: number, afterMib: number) => ({ api: { beforeMib, afterMib, grown } })
  const still = { resources: level({ api: 10 }, { api: 62 }), heap: heapOf(20, 32.9) }
  const flat = { ...still, memory: level({ api: 100 }, { api: 156 }), handles: level({ api: 50 }, { api: 74 }) }
  t.same(growth({ ...flat, delay: level({ api: 12 }, { api: 40 }) }), [])
  const opened = level({ api: 90, '(load)': 110 }, { api: 200, '(load)': 220 })
  t.same(growth({ ...flat, handles: opened, delay: level({}, {}) }), [], 'connections that the generator has opened')
  t.match(
    growth({
      memory: level({ api: 100, redis: 10 }, { api: 158, redis: 900 }),
      handles: level({ api: 50, redis: 50 }, { api: 50, redis: 76 }),
      resources: level({ api: 10 }, { api: 63 }),
      delay: level({ api: 12 }, { api: 60 }),
      heap: heapOf(20, 33.1),
    }),
    [
      /^api: heap grew from 20.0 to 33.1: Map 9 KiB \(3 more\)/,
      /^api: memory grew from 100.0 to 158.0/,
      /^redis: handles grew/,
      /^api: resources grew/,
      /^api: delay grew/,
    ],
  )
})

test("open files are counted, and the delay of an event loop is read from an app's metrics", async (t) => {
  t.ok(openFiles([{ name: 'us', pid: process.pid }]).us! > 2)
  const metrics = '# TYPE nodejs_eventloop_lag_p99_seconds gauge\nnodejs_eventloop_lag_p99_seconds{app="api"} 0.0125\n'
  t.equal(delayOf(metrics), 12.5)
  t.equal(delayOf(metrics.replace('0.0125', 'NaN')), undefined)
  t.throws(() => delayOf(''), { name: 'Failure' })
})
