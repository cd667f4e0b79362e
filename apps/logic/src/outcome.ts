/** What becomes of the items of a call, each by itself: one that fails holds up no other. */
import { type AppError, toAppError } from '@tidings/protocol'

export type Outcome<T> = { value: T; error?: undefined } | { value?: undefined; error: AppError }

/** Does the same for each; a throw is the outcome of its item alone. */
export async function outcomes<Item, T>(
  items: readonly Item[],
  run: (item: Item) => T | Promise<T>,
): Promise<Outcome<T>[]> {
  return await Promise.all(
    items.map(async (item) => {
      try {
        return { value: await run(item) }
      } catch (error) {
        return { error: toAppError(error) }
      }
    }),
  )
}

/** @throws AppError what the item failed with */
export function unwrap<T>({ value, error }: Outcome<T>): T {
  if (error) throw error
  return value as T
}

/** Goes on with the items that have not failed. @param next one outcome for each of them, in order */
export async function andThen<T, U>(
  before: readonly Outcome<T>[],
  next: (values: readonly T[]) => Promise<readonly Outcome<U>[]>,
): Promise<Outcome<U>[]> {
  const after = (await next(before.flatMap((one) => (one.error ? [] : [one.value as T])))).values()
  return before.map((one) => (one.error ? { error: one.error } : after.next().value!))
}
