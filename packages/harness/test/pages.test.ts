/** The pages tell the truth where a program can tell: files, commands, settings, series, frames, keys and tables that they name. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Close, errorTable } from '@tidings/protocol'
import { settings } from '@tidings/service'
import { createKeys } from '@tidings/stream'
import t from 'tap'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

const PAGES = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md'],
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** Words in code quotes. */
const quoted = (page: string): string[] => [...read(page).matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!)
const unique = (words: Iterable<string>): string[] => [...new Set(words)].sort()

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules' || entry.name === 'dist' || entry.name.startsWith('.')) return []
    return entry.isDirectory() ? filesBelow(`${folder}/${entry.name}`) : [`${folder}/${entry.name}`]
  })
}

const FILE = /^[\w.-]+(?:\/[\w.-]+)*\.(?:ts|mjs|lua|sql|proto|json)$/
/** Made when an instance runs. */
const MADE = new Set(['secrets.json', 'demo.json', 'ports.json', 'watch.mjs', 'hook.mjs'])

t.test('every file that a page names exists', async (t) => {
  const known = ['apps', 'packages', 'migrations', 'infra'].flatMap(filesBelow)
  const names = new Set(known.map((path) => path.split('/').at(-1)!))
  const exists = (name: string): boolean =>
    name.includes('/') ? existsSync(join(root, name)) : existsSync(join(root, name)) || names.has(name)
  const wrong = PAGES.flatMap((page) =>
    quoted(page)
      .filter((word) => FILE.test(word) && !MADE.has(word) && !word.startsWith('.tidings/'))
      // Within a part, a path may be told from there: `routes/auth.ts`.
      .filter((word) => !exists(word) && !known.some((path) => path.endsWith(`/${word}`)))
      .map((word) => `${page}: ${word}`),
  )
  t.same(wrong, [])
  t.ok(quoted('ARCHITECTURE.md').filter((word) => FILE.test(word)).length > 60, 'it names many')
})

t.test('every folder of the code map exists, and every app and package is in it', async (t) => {
  const map = quoted('ARCHITECTURE.md').filter((word) => /^[\w/-]+\/$/.test(word))
  t.same(
    map.filter((folder) => !existsSync(join(root, folder)) && folder !== 'routes/'),
    [],
  )
  for (const base of ['apps', 'packages'])
    for (const name of readdirSync(join(root, base))) t.ok(map.includes(`${base}/${name}/src/`), `${base}/${name}`)
})

t.test('every link between pages leads somewhere', async (t) => {
  const wrong = PAGES.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)]
      .map((match) => match[1]!)
      .filter((target) => {
        const [path, anchor] = target.split('#')
        const file = path === '' ? page : join(dirname(page), path!)
        if (!existsSync(join(root, file))) return true
        return anchor !== undefined && !headings(file).includes(anchor)
      })
      .map((target) => `${page}: ${target}`),
  )
  t.same(wrong, [])
})

const headings = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )

t.test('every npm command of a page is in package.json', async (t) => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const named = PAGES.flatMap((page) =>
    [...read(page).matchAll(/\bnpm (?:run (?:--silent )?([\w-]+)|(start|test)\b)/g)].map(
      (match) => match[1] ?? match[2]!,
    ),
  )
  t.same(
    unique(named).filter((name) => !Object.hasOwn(scripts, name)),
    [],
  )
  for (const name of ['start', 'dev', 'test', 'bench', 'status', 'stop']) {
    t.ok(read('README.md').includes(name === 'start' || name === 'test' ? `npm ${name}` : `npm run ${name}`), name)
  }
})

t.test('every variable of a page is a setting', async (t) => {
  const named = PAGES.flatMap((page) => read(page).match(/\bTIDINGS_[A-Z0-9_]*[A-Z0-9]\b/g) ?? [])
  t.same(
    unique(named).filter((name) => !Object.hasOwn(settings, name)),
    [],
  )
})

t.test('every series of the code is in docs/operations.md, and no other', async (t) => {
  const code = ['apps', 'packages'].flatMap(filesBelow).filter((path) => /\/src\/.*\.ts$/.test(path))
  const inCode = unique(code.flatMap((path) => read(path).match(/(?<=['"`])tidings_[a-z_]+(?=['"`])/g) ?? []))
  const inPage = unique(read('docs/operations.md').match(/\btidings_[a-z_]+\b/g) ?? [])
  t.same(inPage, inCode)
})

t.test('every op and close code is in docs/protocol.md', async (t) => {
  const page = read('docs/protocol.md')
  const code = filesBelow('apps/connect/src').map(read).join('\n')
  const sent = unique([...code.matchAll(/\bop: '(\w+)'/g)].map((match) => match[1]!))
  const taken = unique([...code.matchAll(/Type\.Literal\('(\w+)'\)/g)].map((match) => match[1]!))
  t.ok(sent.length > 5 && taken.length > 5)
  for (const op of [...sent, ...taken, 'message']) t.ok(page.includes(`| \`${op}\` `), op)
  for (const close of Object.values(Close)) t.ok(page.includes(`| ${close} |`), String(close))
})

t.test('every error code that a page names is in the table', async (t) => {
  const named = [
    'docs/protocol.md',
    'docs/http.md',
    'docs/admin.md',
    'docs/moderation.md',
    'docs/rooms.md',
    'docs/changes.md',
    'docs/push.md',
    'docs/guarantees.md',
  ].flatMap((page) =>
    [...read(page).matchAll(/\b(?:4\d\d|5\d\d|`error` frame) `([a-z_]+)`/g)].map((match) => match[1]!),
  )
  t.ok(named.length > 0)
  t.same(
    unique(named).filter((code) => !Object.hasOwn(errorTable, code)),
    [],
  )
})

t.test('every route is in docs/http.md, those of operators in docs/admin.md', async (t) => {
  const page = read('docs/http.md')
  const operators = read('docs/admin.md')
  const code = filesBelow('apps/api/src/routes').map(read).join('\n')
  const routes = [...code.matchAll(/app\.(?:get|post|put|patch|delete)\(\s*'([^']+)'/g)].map((match) => match[1]!)
  t.ok(routes.length > 8)
  for (const route of routes) {
    const pattern = route.replace(/:\w+/g, '[$\\w:.-]+')
    // Operators sign: their page has a function for it.
    if (route.startsWith('/admin/')) t.match(operators, new RegExp(`admin [A-Z]+ ['"]?${pattern}(?=[\\s'"?])`), route)
    else t.match(page, new RegExp(`\\$API${pattern}(?=[\\s"?])`), route)
  }
})

t.test('every Redis key, table and etcd prefix is in the state tables of ARCHITECTURE.md', async (t) => {
  const page = read('ARCHITECTURE.md')
  const keys = createKeys('tidings', 16)
  const made = [
    ...[keys.messages(0), keys.dead(0, 'push'), keys.recent(0), keys.mark(0, 'push'), keys.fence(0, 'push')],
    ...[keys.generation(0), keys.leapt(0)],
    ...[
      keys.collapse('c', 'u', 'k'),
      keys.seq('c'),
      keys.skip('c'),
      keys.log('c'),
      keys.fold('c'),
      keys.members('c'),
      keys.read('c'),
    ],
    keys.once('c', 'u', 'k'),
    ...[keys.conversations('u'), keys.devices('u'), keys.cursor('u', 'd'), keys.revoked(), keys.ticket('x')],
    keys.seen('u'),
    ...[keys.rate('sends', 'u'), keys.tries('name', 'u'), keys.nonce('k', 'n')],
    keys.flagged(),
    keys.export('u'),
  ]
  t.equal(
    made.length,
    Object.values(keys).filter((value) => typeof value === 'function').length - 1,
    'all but partitionOf',
  )
  for (const key of made) {
    const word = key.split(':')[2]!
    t.match(page, new RegExp(`\`tidings:\\{[p0]\\}:${word}[:\`]`), word)
  }
  for (const file of readdirSync(join(root, 'migrations')).filter((name) => name.endsWith('.sql'))) {
    for (const match of read(`migrations/${file}`).matchAll(/CREATE TABLE (?:IF NOT EXISTS )?`(\w+)`/g))
      t.ok(quoted('ARCHITECTURE.md').includes(match[1]!), match[1]!)
  }
  for (const prefix of ['nodes', 'users', 'partitions', 'rooms', 'workers', 'config'])
    t.ok(page.includes(`\`/tidings/${prefix}/`), prefix)
})
