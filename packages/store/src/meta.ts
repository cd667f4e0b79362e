/** Facts about the data set itself. */
import { eq } from 'drizzle-orm'
import { bare, ER_DUPLICATE, errnoOf } from './away.js'
import type { Store } from './db.js'
import { meta } from './schema.js'

/**
 * Writes a fact down the first time; later answers what was written then.
 * @throws AppError `unavailable`
 */
export async function fixFact(store: Store, name: string, value: string): Promise<string> {
  return store.use(async ({ orm }) => {
    const read = async () => (await orm.select().from(meta).where(eq(meta.name, name)))[0]?.value
    const known = await read()
    if (known !== undefined) return known
    try {
      await orm.insert(meta).values({ name, value })
      return value
    } catch (error) {
      if (errnoOf(bare(error as Error)) !== ER_DUPLICATE) throw error
      return (await read())!
    }
  })
}

/**
 * The number of partitions that this data set was made with: the given one, when it is new.
 * @throws AppError `unavailable`
 */
export const fixPartitions = async (store: Store, partitions: number): Promise<number> =>
  Number(await fixFact(store, 'partitions', String(partitions)))
