/** An etcd alone, as durable as that of `npm start`, in a folder of the bench's own. */
import { rmSync } from 'node:fs'
import { checkout } from '../checkout.js'
import { dataFolder, prepareData, storeHome } from '../data.js'
import { takeLock } from '../lock.js'
import { findBinaries } from '../packages.js'
import type { RunningStore } from '../store.js'
import { startEtcd } from '../stores.js'

/** Starts it, and ends and removes it when `use` is through. */
export async function withEtcd<T>(say: (line: string) => void, use: (etcd: RunningStore) => Promise<T>): Promise<T> {
  const data = dataFolder(`.tidings/bench-${process.pid}`)
  prepareData(data)
  const release = takeLock(data)
  const { folder } = storeHome(data)
  try {
    const programs = await findBinaries(checkout, say, ['etcd'])
    const etcd = await startEtcd({ dir: folder, programs, durable: true })
    try {
      return await use(etcd)
    } finally {
      await etcd.stop()
    }
  } finally {
    release()
    for (const each of new Set([data.path, folder])) rmSync(each, { recursive: true, force: true, maxRetries: 3 })
  }
}
