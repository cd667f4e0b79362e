import type { Entry } from '@tidings/protocol'
import t from 'tap'
import { coveredTo, type Page, Repair } from '../src/repair.js'
import { Flow } from '../src/sequencer.js'

const entry = (seq: number): Entry => ({
  id: String(seq),
  conversation: 'dm:alice:bob',
  seq,
  n: seq,
  from: 'alice',
  type: 'text',
  content: '{}',
  clientId: '',
  sentAt: 0,
  trace: '',
})
const page = (seqs: readonly number[], voids: Page['voids'] = []): Page => ({ entries: seqs.map(entry), voids })

function setUp({ position = 0, head = 10, wantsGaps = false } = {}) {
  const flow = new Flow(position)
  flow.raise(head)
  flow.startReading()
  const told: string[] = []
  const repair = new Repair(
    flow,
    {
      wantsGaps,
      show: (frame) => void told.push(/"seq":(\d+)/.exec(String(frame))![1]!),
      tellVoid: (from, to) => void told.push(`void ${from}-${to}`),
      tellGap: (from, to) => void told.push(`gap ${from}-${to}`),
    },
    () => 1,
  )
  const give = (read: Page | undefined, now: number) => {
    repair.take(read)
    while (repair.showNext());
    return repair.next(now)
  }
  return { flow, told, repair, give }
}

t.test('pages are shown in order, with voids between, until nothing known is left', (t) => {
  const { told, give, repair, flow } = setUp({ head: 6 })
  t.equal(give(page([1, 2]), 0), 'read')
  t.equal(give(page([5], [{ from: 3, to: 4 }]), 0), 'read')
  flow.push(7, '"seq":7', () => t.fail('not before what is older'))
  t.equal(give(page([6]), 0), 'live')
  t.same(told, ['1', '2', 'void 3-4', '5', '6', '7'])
  t.equal(repair.shown, 4, 'the held one was not read')
  t.end()
})

t.test('a hole that resists for two seconds becomes a gap up to the next at hand, if the log answers', (t) => {
  const { told, give, repair } = setUp({ head: 6 })
  t.same(give(page([3, 4]), 0), { waitMs: 50 })
  t.same(give(undefined, 1_999), { waitMs: 100 }, 'one that nobody answers waits longer and longer')
  t.equal(give(page([3, 4]), 2_000), 'ask')
  t.same(repair.resists(false), { waitMs: 50 }, 'nobody answers: no gap')
  t.equal(give(page([3, 4]), 2_100), 'ask')
  t.equal(repair.resists(true), 'read')
  t.same(told, ['gap 1-2'])
  t.equal(give(page([3, 4, 5, 6]), 2_200), 'live')
  t.same(told, ['gap 1-2', '3', '4', '5', '6'])
  t.end()
})

t.test('who takes gaps gets the newest hundred of a long backlog', (t) => {
  const { told, flow } = setUp({ head: 1_000, wantsGaps: true })
  t.same(told, ['gap 1-900'])
  t.equal(flow.position, 900)
  t.same(setUp({ head: 500, wantsGaps: true }).told, [])
  t.end()
})

t.test('one reader per flow: a second one has nothing to do', (t) => {
  const { flow } = setUp()
  t.equal(flow.startReading(), false)
  t.equal(flow.raise(20), false)
  t.end()
})

t.test('a page covers only what follows without a hole', (t) => {
  t.equal(coveredTo(page([11, 12, 14]), 10), 12)
  t.equal(coveredTo(page([11, 14], [{ from: 12, to: 13 }]), 10), 14)
  t.equal(coveredTo(page([12]), 10), 10)
  t.equal(coveredTo(page([], []), 10), 10)
  t.end()
})
