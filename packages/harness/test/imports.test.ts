/** Who may import whom, and what lives in one place only. Read from the sources, so that a wrong import fails here by its name. */
import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('../../../../', import.meta.url))

/** What each part may import of ours. What is not in the table is not a part. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'packages/protocol': [],
  'packages/service': [],
  'packages/stream': ['protocol', 'service'],
  'packages/registry': ['protocol', 'service'],
  'packages/store': ['protocol', 'service'],
  'packages/accept': ['protocol', 'service', 'stream', 'registry'],
  'apps/api': ['protocol', 'service', 'accept', 'registry', 'stream'],
  'apps/connect': ['protocol', 'service', 'accept', 'stream', 'registry'],
  'apps/logic': ['protocol', 'service', 'stream', 'registry', 'store'],
  'apps/task': ['protocol', 'service', 'stream', 'registry', 'store'],
  'packages/harness': [
    'infra',
    'service/test-env',
    ...['protocol', 'service', 'stream', 'registry', 'store', 'accept', 'migrations'],
    ...['api', 'connect', 'logic', 'task'],
  ],
  // It looks at the apps from outside: as processes, over the network, and in the stores.
  'packages/prover': ['infra', 'protocol', 'service', 'stream', 'migrations'],
}

interface PlaceRule {
  what: string
  /** Found in the code, comments left out. */
  found: RegExp
  /** Files, or folders with a slash at the end. */
  only: readonly string[]
}

const imported = (name: string): RegExp => new RegExp(`['"\`]${name}(?:/[^'"\`]*)?['"\`]`)

const IN_ONE_PLACE: readonly PlaceRule[] = [
  {
    what: 'process.env',
    found: /\bprocess\.env\b/,
    // The prover's is in text that it puts into an app's main.ts.
    only: [
      ...['api', 'logic', 'task', 'connect'].map((app) => `apps/${app}/src/main.ts`),
      'packages/service/src/test-env.ts',
      'packages/harness/',
      'packages/prover/src/faults/clocks.ts',
    ],
  },
  { what: 'uWebSockets.js', found: imported('uWebSockets\\.js'), only: ['apps/connect/src/socket.ts'] },
  {
    what: 'gRPC',
    found: imported('(?:@grpc/grpc-js|nice-grpc(?:-common)?)'),
    only: ['packages/protocol/src/rpc.ts', 'packages/protocol/src/gen/'],
  },
  {
    what: 'ioredis',
    found: imported('ioredis'),
    only: ['packages/stream/src/', 'packages/prover/src/cluster/redis.ts'],
  },
  { what: 'etcd3', found: imported('etcd3'), only: ['packages/registry/src/'] },
  {
    what: 'Prometheus',
    found: imported('prom-client'),
    only: ['packages/service/src/metrics.ts', 'packages/service/src/series.ts'],
  },
  {
    what: 'SQL',
    found: imported('(?:drizzle-orm|mysql2)'),
    // The harness makes and drops a database per test world; the prover does what an operator can do.
    only: ['packages/store/src/', 'packages/harness/src/world.ts', 'packages/prover/src/cluster/mysql.ts'],
  },
  { what: 'XACK', found: /xack/i, only: ['packages/stream/src/settle.lua', 'packages/stream/src/reclaim.lua'] },
  {
    what: 'XADD',
    found: /xadd/i,
    // The prover writes broken entries by hand.
    only: [
      ...['append', 'leap', 'settle', 'retry'].map((name) => `packages/stream/src/${name}.lua`),
      'packages/prover/src/faults/clients.ts',
    ],
  },
]

interface Source {
  /** From the root, with slashes. */
  path: string
  part: string
  /** Without comments. */
  code: string
}

const IMPORT = /(?:\bfrom|\bimport|\b(?:import|require)\s*\()\s*['"]([@.\w][\w./:-]*)['"]/g

const importsOf = (code: string): string[] => [...code.matchAll(IMPORT)].map((match) => match[1]!)

/** A line comment begins a line or follows a space: the slashes of a URL do neither. */
const withoutComments = (text: string, path: string): string =>
  path.endsWith('.lua')
    ? text.replace(/(^|\s)--.*$/gm, '$1')
    : text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')

function sourcesOf(part: string): Source[] {
  const folder = join(root, part, 'src')
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => /\.(ts|lua)$/.test(name))
    .map((name) => {
      const path = `${part}/src/${name.split(sep).join('/')}`
      return { path, part, code: withoutComments(readFileSync(join(root, path), 'utf8'), path) }
    })
}

const sources = Object.keys(MAY_IMPORT).flatMap(sourcesOf)

t.test('the reader of imports knows every form, and passes over comments', async (t) => {
  const code = [
    `import { a } from 'a'`,
    `import type { B } from "b"`,
    `import 'c'`,
    `export * from 'd'`,
    `const e = await import('e')`,
    `type F = typeof import('f')`,
    `const g = require('g')`,
    `} from 'h' // not from 'x'`,
    `/** not import('y') */ const url = 'http://z'`,
  ].join('\n')
  t.same(importsOf(withoutComments(code, 'x.ts')), ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
  t.equal(withoutComments(`redis.call('GET', k) -- not XACK`, 'x.lua').includes('XACK'), false)
})

t.test('every app and package is in the table', async (t) => {
  const parts = ['packages', 'apps'].flatMap((base) =>
    readdirSync(join(root, base), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${base}/${entry.name}`),
  )
  t.same(parts.sort(), Object.keys(MAY_IMPORT).sort())
  t.ok(sources.length > 100, `${sources.length} sources were read`)
})

t.test('imports point downwards: no same level, no app in an app', async (t) => {
  const wrong = sources.flatMap(({ path, part, code }) =>
    importsOf(code)
      .filter((name) => name.startsWith('@tidings/'))
      .filter((name) => !MAY_IMPORT[part]!.some((allowed) => name === `@tidings/${allowed}`))
      .map((name) => `${path} imports ${name}`),
  )
  t.same(wrong, [])
})

t.test('a relative import stays in its package', async (t) => {
  const wrong = sources.flatMap(({ path, part, code }) =>
    importsOf(code)
      .filter((name) => name.startsWith('.'))
      .filter((name) => relative(join(root, part), resolve(root, dirname(path), name)).startsWith('..'))
      .map((name) => `${path} imports ${name}`),
  )
  t.same(wrong, [])
})

t.test('what is imported is declared where it is imported', async (t) => {
  const builtins = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]))
  const wrong = sources.flatMap(({ path, part, code }) => {
    // The harness is for tests: tap and the driver come from the root and from store.
    if (part === 'packages/harness') return []
    const { dependencies = {} } = JSON.parse(readFileSync(join(root, part, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
    }
    return importsOf(code)
      .filter((name) => !name.startsWith('.') && !builtins.has(name))
      .map((name) => name.split('/', name.startsWith('@') ? 2 : 1).join('/'))
      .filter((name) => !Object.hasOwn(dependencies, name))
      .map((name) => `${path} imports ${name}`)
  })
  t.same(wrong, [])
})

t.test('a package declares nothing of ours that it may not import', async (t) => {
  const wrong = Object.entries(MAY_IMPORT).flatMap(([part, allowed]) => {
    const { dependencies = {} } = JSON.parse(readFileSync(join(root, part, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
    }
    return Object.keys(dependencies)
      .filter((name) => name.startsWith('@tidings/') && !allowed.includes(name.slice('@tidings/'.length)))
      .map((name) => `${part} declares ${name}`)
  })
  t.same(wrong, [])
})

for (const { what, found, only } of IN_ONE_PLACE) {
  t.test(`${what} lives in ${only.join(', ')}`, async (t) => {
    const allowed = (path: string): boolean =>
      only.some((place) => (place.endsWith('/') ? path.startsWith(place) : path === place))
    const holders = sources.filter(({ code }) => found.test(code)).map(({ path }) => path)
    t.same(
      holders.filter((path) => !allowed(path)),
      [],
    )
    t.ok(holders.length > 0, 'the rule still has something to hold')
  })
}
