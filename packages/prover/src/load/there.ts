/** What a history has, for whoever must find out what is lost. */
import { readPage } from './http.js'
import type { Target } from './target.js'

/** Ids by `<from> <clientId>`. */
export type There = ReadonlyMap<string, string>

/** `<from> <clientId>` of everything that a history has, and its id. @throws Error when it cannot be read now */
export async function messagesOf(target: Target, user: string, conv: string): Promise<There> {
  const there = new Map<string, string>()
  for (let after = 0; ; ) {
    const page = await readPage(target.apis[0]!, target.token(user), conv, after, 200)
    if (typeof page === 'number') throw new Error(`the history of ${conv} answers ${page}`)
    for (const { id, from, clientId = '' } of page.messages) there.set(`${from} ${clientId}`, id)
    const last = Math.max(page.messages.at(-1)?.seq ?? 0, page.void.at(-1)?.[1] ?? 0)
    if (last <= after || last >= page.head) return there
    after = last
  }
}
