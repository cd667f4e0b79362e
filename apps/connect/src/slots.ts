/** A bound on how many of something run at once; the others wait in line. */
export interface Slots {
  run<T>(work: () => Promise<T>): Promise<T>
  readonly running: number
  readonly waiting: number
}

export function createSlots(most: number): Slots {
  const line: (() => void)[] = []
  let running = 0
  return {
    async run(work) {
      // The slot is handed over directly, so that nobody slips in between.
      if (running >= most) await new Promise<void>((resolve) => line.push(resolve))
      else running++
      try {
        return await work()
      } finally {
        const next = line.shift()
        if (next) next()
        else running--
      }
    },
    get running() {
      return running
    },
    get waiting() {
      return line.length
    },
  }
}
