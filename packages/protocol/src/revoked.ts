/**
 * The words of the set in Redis by which logic tells the edges what they must not believe any more. A session is told by its id,
 * which has no colon.
 */

/** @returns the word for a user who may not act any more */
export const revokedUser = (user: string): string => `user:${user}`

export type Revoked = { kind: 'session'; session: string } | { kind: 'user'; user: string }

/** @returns what a word says; undefined for one of a newer version */
export function parseRevoked(word: string): Revoked | undefined {
  const [kind, name, ...more] = word.split(':')
  if (name === undefined) return { kind: 'session', session: word }
  return kind === 'user' && more.length === 0 ? { kind, user: name } : undefined
}
