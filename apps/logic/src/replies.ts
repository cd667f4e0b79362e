/** Reading from Redis: all of an answer or `unavailable`, for half an answer would read as "nothing there". */
import { type Redis, redisAway } from '@tidings/stream'

export type Pipeline = ReturnType<Redis['pipeline']>

/** The replies of a pipeline, in order; on a cluster its keys must be of one partition. @throws AppError `unavailable` */
export async function replies(pipeline: Pipeline): Promise<unknown[]> {
  if (pipeline.length === 0) return []
  const answers = await orAway(pipeline.exec())
  return (answers ?? []).map(([error, answer]) => {
    if (error) throw redisAway(error)
    return answer
  })
}

/** @throws AppError `unavailable` */
export async function orAway<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply
  } catch (error) {
    throw redisAway(error)
  }
}
