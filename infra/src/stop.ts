/** `npm run stop`: ends what a start of this data folder left running, and only that. */
import { closeInOrder } from './close.js'
import { dataFolder } from './data.js'
import { holderOf } from './lock.js'
import { goneWithin, signal } from './process.js'
import { dataDirSetting } from './settings.js'
import { clearState, endInOrder, readState, stillRunning } from './state.js'

/** The runner stops its processes within seven seconds, and closes the partitions in one more; one that does not is stuck. */
const RUNNER_MS = 10_000

/** Asks the runner to stop, then ends what is left of its processes. Doing it twice does no harm. */
export async function stop(): Promise<number> {
  const data = dataFolder(dataDirSetting(process.env))
  const runner = holderOf(data)
  const { children, dataSet } = readState(data)
  const running = stillRunning(children)
  if (runner && signal(runner, 'SIGTERM') && !(await goneWithin(runner, RUNNER_MS))) {
    console.log(`The runner (pid ${runner.pid}) does not stop: killing it.`)
    signal(runner, 'SIGKILL')
  }
  // Asked again: the runner may have started something in its last moment.
  const left = stillRunning([...running, ...readState(data).children])
  const say = (line: string): void => console.log(line)
  // Without a runner nobody else does it, and all conversations would leap.
  await endInOrder(left, say, dataSet && (() => closeInOrder(dataSet, say)))
  clearState(data)
  const names = [...new Set(running.map((child) => child.instance))]
  console.log(
    names.length > 0 || runner ? `stopped ${names.join(', ') || 'the runner'}` : `nothing runs in ${data.path}`,
  )
  return 0
}
