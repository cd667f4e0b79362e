/**
 * The words of the set in Redis by which logic tells the edges what they must not believe any more. A session is told by its id,
 * which has no colon.
 */

/** @returns the word for a user who may not act any more */
export const revokedUser = (user: string): string => `user:${user}`

/** @returns the word for a user who may not write to another one any more */
export const revokedSends = (from: string, to: string): string => `sends:${from}:${to}`

export type Revoked =
  | { kind: 'session'; session: string }
  | { kind: 'user'; user: string }
  | { kind: 'sends'; from: string; to: string }

/** @returns what a word says; undefined for one of a newer version */
export function parseRevoked(word: string): Revoked | undefined {
  const [kind, name, other, ...more] = word.split(':')
  if (name === undefined) return { kind: 'session', session: word }
  if (kind === 'user' && other === undefined) return { kind, user: name }
  return kind === 'sends' && other !== undefined && more.length === 0 ? { kind, from: name, to: other } : undefined
}
