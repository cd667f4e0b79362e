/** The prover proves itself: bugs in changing what was said that it must find. */
import t from 'tap'
import { planted } from './planted.js'

// Long on a machine that is busy with other tests.
t.setTimeout(170_000)
t.test('a bug in changing what was said makes the prover fail', (t) =>
  planted(t, ['recall-not-stored', 'edit-twice', 'log-without-folds'], 1),
)
