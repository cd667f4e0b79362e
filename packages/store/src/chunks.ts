/** Many rows in statements of a bounded size, in the order of their key. */

/** Rows in one statement. */
const CHUNK = 500

/** Compares by the given fields in turn, byte by byte: the order of an ascii_bin key. */
export const by =
  <T>(...fields: (keyof T)[]) =>
  (a: T, b: T): number => {
    for (const field of fields) if (a[field] !== b[field]) return a[field] < b[field] ? -1 : 1
    return 0
  }

export async function inChunks<T>(rows: readonly T[], write: (chunk: T[]) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < rows.length; at += CHUNK) await write(rows.slice(at, at + CHUNK))
}
