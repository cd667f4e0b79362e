/** Two users to try the product with. */
import { randomBytes } from 'node:crypto'
import { asRecord, type DataFolder } from './data.js'
import { reasonOf } from './failure.js'
import { readJson, writeJson } from './files.js'

export const DEMO_USERS = ['alice', 'bob'] as const

/**
 * Sees to it that the demo users exist, with passwords that only the data folder knows.
 * @returns a sentence when they could not be made, which is no reason to stop: the product works without them
 */
export async function ensureDemoUsers(data: DataFolder, api: string): Promise<string | undefined> {
  const known = asRecord(readJson(data.demo))
  const passwords: Record<string, string> = {}
  const notes: string[] = []
  try {
    for (const username of DEMO_USERS) {
      const before = known[username]
      const password = typeof before === 'string' ? before : randomBytes(12).toString('base64url')
      const note = await ensureUser(api, username, password, before === password)
      if (note) notes.push(note)
      else passwords[username] = password
    }
  } catch (error) {
    notes.push(`the demo users could not be made (${reasonOf(error)})`)
  }
  if (Object.keys(passwords).length > 0) writeJson(data.demo, { ...known, ...passwords })
  return notes[0]
}

async function ensureUser(
  api: string,
  username: string,
  password: string,
  known: boolean,
): Promise<string | undefined> {
  if (known && (await post(`${api}/api/v1/auth/login`, { username, password })).status === 200) return undefined
  const answer = await post(`${api}/api/v1/auth/register`, { username, password })
  if (answer.status === 201) return undefined
  const { code } = asRecord(await answer.json().catch(() => undefined))
  if (answer.status === 409)
    return `the demo user ${username} exists, and its password is not in the data folder: use a token instead`
  if (answer.status === 403) return 'registration is closed, so there are no demo users'
  return `the demo user ${username} could not be made (${answer.status} ${String(code ?? '')})`
}

function post(url: string, body: unknown): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  })
}
