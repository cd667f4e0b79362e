/** What no route takes: 405 where the path has other methods, 404 elsewhere, and a plain answer to OPTIONS. */
import { AppError } from '@tidings/protocol'
import type { Api } from './api.js'
import { pathOf, sendProblem } from './problem.js'

interface Known {
  path: RegExp
  methods: string[]
}

/** Must be called before the routes are added. */
export function answerUnknown(app: Api): void {
  const known = new Map<string, Known>()
  app.addHook('onRoute', ({ url, method }) => {
    const entry = known.get(url) ?? { path: toPattern(url), methods: [] }
    entry.methods.push(...(Array.isArray(method) ? method : [method]))
    known.set(url, entry)
  })

  function allowedAt(path: string): string[] {
    const methods = [...known.values()].flatMap((entry) => (entry.path.test(path) ? entry.methods : []))
    return [...new Set(methods)].sort()
  }

  app.setNotFoundHandler((request, reply) => {
    const allowed = allowedAt(pathOf(request.url))
    // With the method itself among them, it is a file that is not there.
    if (allowed.length === 0 || allowed.includes(request.method)) {
      return sendProblem(request, reply, new AppError('not_found', 'There is nothing here. /docs lists all calls.'))
    }
    const list = allowed.join(', ')
    reply.header('allow', list)
    if (request.method === 'OPTIONS') return void reply.code(204).send()
    sendProblem(request, reply, new AppError('method_not_allowed', `This path takes ${list}.`))
  })
}

function toPattern(url: string): RegExp {
  const parts = url.split('/').map((part) => {
    if (part.startsWith(':')) return '[^/]+'
    return part === '*' ? '.*' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${parts.join('/')}$`)
}
