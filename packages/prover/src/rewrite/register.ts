/** Runs first in a process that is to be changed: hands the changed texts to the loader. */
import { register } from 'node:module'
import { applyRewrites, type Rewrite } from './apply.js'

const given = new URL(import.meta.url).searchParams.get('rewrites') ?? '[]'
register('./hooks.js', import.meta.url, { data: applyRewrites(JSON.parse(given) as Rewrite[]) })
