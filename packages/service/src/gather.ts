/** Many calls as one: what is asked in one turn of the event loop, while an earlier call runs, or while a paced one is held up, goes out together. */
import { type Pace, Pacer } from './pacer.js'

export interface GatherBounds {
  mostPerCall: number
  /** Calls that may run at the same time. */
  callsAtOnce: number
  /** How long what is asked waits for a running call at most, as long as another one may run. */
  patienceMs: number
  /** Where much is asked, calls keep this pace; a full one waits for nothing. */
  pace?: Pace
}

interface Asked<Item, Answer> {
  item: Item
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/**
 * One call after the other makes the batches large; one that hangs must hold up no other, so after a while the next one goes all the
 * same. What waits here is bounded by those who ask: each waits for its answer.
 * @param call answers each item, in their order; an Error is thrown to whoever asked for that item alone
 * @returns asks for one item
 */
export function gather<Item, Answer>(
  call: (items: Item[]) => Promise<readonly (Answer | Error)[]>,
  { mostPerCall, callsAtOnce, patienceMs, pace }: GatherBounds,
): (item: Item) => Promise<Answer> {
  const line: Asked<Item, Answer>[] = []
  let running = 0
  /** Calls that are waited for. */
  let young = 0
  let scheduled = false
  const pacer = pace && new Pacer(pace, mostPerCall)

  function schedule(): void {
    pacer?.more(line.length)
    if (scheduled || line.length === 0 || young > 0 || running >= callsAtOnce) return
    scheduled = true
    if (pacer) void pacer.wait(line.length).then(leave)
    else leave()
  }

  function leave(): void {
    setImmediate(() => {
      scheduled = false
      void send(line.splice(0, mostPerCall))
    })
  }

  async function send(batch: readonly Asked<Item, Answer>[]): Promise<void> {
    pacer?.began(batch.length)
    running++
    young++
    let grown = false
    const grow = (): void => {
      if (grown) return
      grown = true
      young--
      schedule()
    }
    const patience = setTimeout(grow, patienceMs)
    try {
      const answers = await call(batch.map(({ item }) => item))
      for (const [i, { resolve, reject }] of batch.entries()) {
        const answer = answers[i]
        if (answer instanceof Error) reject(answer)
        else if (i < answers.length) resolve(answer as Answer)
        else reject(new Error(`${answers.length} answers to ${batch.length} items`))
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    clearTimeout(patience)
    running--
    grow()
    schedule()
  }

  return (item) =>
    new Promise((resolve, reject) => {
      line.push({ item, resolve, reject })
      schedule()
    })
}
