/** The suite micro: the inner loops against a reference loop, in a process of its own. */

import type { Figures } from './figures.js'
import { innerLoops } from './micro-loops.js'
import { timeLoops } from './micro-timing.js'
import type { Scale } from './order.js'

/** Times all of them. */
export async function micro({ micro: timing }: Scale): Promise<Figures> {
  return { suite: 'micro', loads: [], micro: await timeLoops(await innerLoops(), timing), faults: [] }
}
