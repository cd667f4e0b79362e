/** The short form of `npm run prove`: a cluster of two of each app, a few faults, and nothing lost, doubled, misordered or misplaced. */
import { randomInt } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { check, chooseFaults, parseHistory, print, run } from '../src/index.js'

// Long on a machine that is busy with other tests.
t.setTimeout(170_000)
t.test(
  'every promise is kept while replies are lost, a worker and a node die, and Redis drops its clients',
  async (t) => {
    const seed = randomInt(2 ** 31)
    t.comment(`seed ${seed}`)
    const folder = mkdtempSync(join(tmpdir(), 'tidings-prover-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
    const result = await run({
      seed,
      faults: chooseFaults('2,9b,11,17'),
      minutes: 0,
      folder,
      rate: 40,
      conversations: 4,
      changes: 8,
      count: { api: 2, logic: 2, task: 2, connect: 2 },
      env: { TIDINGS_NODE_LEASE_S: '3', TIDINGS_WORKER_LEASE_S: '2' },
      pace: 0.3,
      slack: 4,
      leastAccepted: 100,
      finishMs: 30_000,
      say: (line) => t.comment(line),
    })
    print(result, { markdown: false, write: (line) => t.comment(line) })
    t.same(result.verdict.violations, [])
    t.equal(result.verdict.faults.length, 4)
    const { changes, pushes } = result.verdict.figures
    t.ok(changes > 0 && pushes > 0, 'something was changed, and something pushed')
    t.ok(result.verdict.figures.pages > 0, 'histories were paged meanwhile')
    const again = check(parseHistory(readFileSync(result.history, 'utf8')))
    t.same(again, JSON.parse(JSON.stringify(result.verdict)), 'the file alone gives the same verdict')
  },
)
