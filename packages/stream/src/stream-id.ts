/** Ids of stream entries: `<milliseconds>-<number>`, rising within a stream. */

export interface StreamId {
  ms: number
  n: number
}

export function parseStreamId(id: string): StreamId {
  const dash = id.indexOf('-')
  return { ms: Number(id.slice(0, dash)), n: Number(id.slice(dash + 1)) }
}

export const isBelow = (a: StreamId, b: StreamId): boolean => a.ms < b.ms || (a.ms === b.ms && a.n < b.n)
