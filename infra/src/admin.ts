/** `npm run admin -- GET /admin/nodes`: a signed call to the running instance. */
import { readFileSync } from 'node:fs'
import { signedHeaders } from '@tidings/service'
import { dataFolder, secretsOf } from './data.js'
import { Failure, reasonOf } from './failure.js'
import { LOCAL_ADMIN } from './plan.js'
import { readSettings } from './settings.js'
import { readState, stillRunning } from './state.js'

const USAGE = 'npm run --silent admin -- GET|POST|PUT|PATCH|DELETE /admin/… [JSON body, or @file]'
const METHODS = new Set(['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Calls the api with the first key of TIDINGS_ADMIN_KEYS, or the one that `npm start` has made, and prints the answer. @returns 1 for an error */
export async function admin(args: string[]): Promise<number> {
  const [method = '', path = '', given, ...more] = args
  if (!METHODS.has(method) || !path.startsWith('/admin/') || more.length > 0)
    throw new Failure(`Usage:\n       ${USAGE}`, { exitCode: 2 })
  const body = given?.startsWith('@') ? textOf(given.slice(1)) : given
  const settings = readSettings(process.env)
  const data = dataFolder(settings.TIDINGS_DATA_DIR)
  const state = readState(data)
  if (!state.urls || stillRunning(state.children).length === 0)
    throw new Failure('Nothing runs here: run npm start in another terminal first.')
  const key = settings.TIDINGS_ADMIN_KEYS[0] ?? { name: LOCAL_ADMIN, secret: secretsOf(data).admin }
  const url = new URL(`${state.urls.api}/api/v1${path}`)
  const headers = signedHeaders(key, { method, target: `${url.pathname}${url.search}`, body: body ?? '' })
  const answer = await call(url, {
    method,
    headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body }),
  })
  const text = await answer.text()
  if (text !== '') console.log(text)
  else console.error(`${answer.status} ${answer.statusText}`)
  return answer.ok ? 0 : 1
}

/** A word list may be longer than an argument can be. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${reasonOf(error)}`, { cause: error, exitCode: 2 })
  }
}

async function call(url: URL, request: RequestInit): Promise<Response> {
  try {
    return await fetch(url, request)
  } catch (error) {
    throw new Failure(`${url.origin} cannot be reached: ${reasonOf(error)}`, { cause: error })
  }
}
