/** `npm run status`: what runs, as JSON, with the health of each from a real question to it. */
import { asRecord, type DataFolder, dataFolder } from './data.js'
import { checkEtcd } from './etcd.js'
import { reasonOf } from './failure.js'
import { readJson } from './files.js'
import { selectOne } from './mysql.js'
import { checkReady, opsUrl } from './plan.js'
import { pingRedis } from './redis.js'
import { dataDirSetting } from './settings.js'
import { type Child, readState, stillRunning } from './state.js'

/** One line of the answer. */
export interface StatusEntry {
  name: string
  instance: string
  pid: number
  ports: Record<string, number>
  /** `ok`, or what is wrong. */
  health: string
}

/** Prints the processes of the data folder's instance: a JSON array and nothing else. */
export async function status(): Promise<number> {
  console.log(JSON.stringify(await statusOf(dataFolder(dataDirSetting(process.env))), null, 2))
  return 0
}

/** Every process of the instance that runs. */
export async function statusOf(data: DataFolder): Promise<StatusEntry[]> {
  const running = stillRunning(readState(data).children)
  return Promise.all(
    running.map(async (child) => ({
      name: child.name,
      instance: child.instance,
      pid: child.pid,
      ports: child.ports,
      health: await healthOf(data, child),
    })),
  )
}

async function healthOf(data: DataFolder, child: Child): Promise<string> {
  try {
    await probe(data, child)
    return 'ok'
  } catch (error) {
    return reasonOf(error)
  }
}

async function probe(data: DataFolder, { name, ports }: Child): Promise<void> {
  if (name === 'redis') return pingRedis(`redis://127.0.0.1:${ports.client}`)
  if (name === 'etcd') return checkEtcd(`http://127.0.0.1:${ports.client}`)
  if (name === 'mysql') {
    const { mysql } = asRecord(readJson(data.secrets))
    return selectOne(`mysql://tidings:${encodeURIComponent(String(mysql))}@127.0.0.1:${ports.client}/tidings`)
  }
  if (ports.ops !== undefined) return checkReady(opsUrl(process.env.TIDINGS_OPS_HOST || '127.0.0.1', ports.ops))
}
