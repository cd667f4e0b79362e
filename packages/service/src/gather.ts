/** Many calls as one: what is asked in one turn of the event loop, or while earlier calls run, goes out together. */

interface Asked<Item, Answer> {
  item: Item
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/**
 * What waits here is bounded by those who ask: each waits for its answer.
 * @param call answers each item, in their order; an Error is thrown to whoever asked for that item alone
 * @returns asks for one item. Alone it goes out at the end of the turn; when as many calls run as may, the next one takes all that waits.
 */
export function gather<Item, Answer>(
  call: (items: Item[]) => Promise<readonly (Answer | Error)[]>,
  { mostPerCall, callsAtOnce }: { mostPerCall: number; callsAtOnce: number },
): (item: Item) => Promise<Answer> {
  const line: Asked<Item, Answer>[] = []
  let running = 0
  let scheduled = false

  function schedule(): void {
    if (scheduled || line.length === 0 || running >= callsAtOnce) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      while (line.length > 0 && running < callsAtOnce) {
        void send(line.splice(0, mostPerCall))
      }
    })
  }

  async function send(batch: readonly Asked<Item, Answer>[]): Promise<void> {
    running++
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
    } finally {
      running--
      schedule()
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      line.push({ item, resolve, reject })
      schedule()
    })
}
