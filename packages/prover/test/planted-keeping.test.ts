/** The prover proves itself: bugs in keeping and in answering that it must find. */
import t from 'tap'
import { planted } from './planted.js'

// Long on a machine that is busy with other tests.
t.setTimeout(170_000)
t.test('a bug in keeping or answering makes the prover fail', (t) =>
  planted(t, ['trim-by-length', 'error-as-empty', 'no-once-key'], 1),
)
