/** Tokens for users, as a team's own backend makes them: HS256 with the instance's secret. */
import { createHmac } from 'node:crypto'

/** A JWT with `sub`, `iat` and `exp`, signed with TIDINGS_JWT_SECRET. */
export function mintToken(
  secret: string,
  user: string,
  lifeSeconds: number,
  extra: Record<string, string> = {},
): string {
  const now = Math.floor(Date.now() / 1000)
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ ...extra, sub: user, iat: now, exp: now + lifeSeconds })}`
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`
}
