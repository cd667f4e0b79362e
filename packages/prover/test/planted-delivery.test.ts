/** The prover proves itself: bugs in delivery that it must find. */
import t from 'tap'
import { planted } from './planted.js'

// Long on a machine that is busy with other tests.
t.setTimeout(170_000)
t.test('a bug in delivery makes the prover fail', (t) => planted(t, ['settle-before-push', 'no-recheck'], 2))
