/**
 * The dev script of an app: runs its main.js and starts it again when a compiled file changes. Run by turbo in the app's
 * folder; what only this app needs in its environment lies in dev.json of the data folder, since turbo gives all apps the same.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const checkout = join(dirname(fileURLToPath(import.meta.url)), '..')
const app = basename(process.cwd())
const plan = join(resolve(checkout, process.env.TIDINGS_DATA_DIR || '.tidings'), 'dev.json')
if (!existsSync(plan)) {
  process.stderr.write(
    'Start the apps with "npm run dev" in the root: it brings up the stores and tells the apps where they are.\n',
  )
  process.exit(1)
}
const env = { ...process.env, ...JSON.parse(readFileSync(plan, 'utf8'))[app] }
const child = spawn(
  process.execPath,
  ['--watch', '--watch-preserve-output', '--enable-source-maps', 'dist/src/main.js'],
  { env, stdio: 'inherit' },
)
child.on('exit', (code) => process.exit(code ?? 1))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))

// A runner that was killed cannot tell us: we notice that we have been handed to another parent.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) child.kill('SIGTERM')
}, 500).unref()
