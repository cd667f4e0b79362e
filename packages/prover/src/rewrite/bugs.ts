/** Bugs to plant: the usual mistakes, each where it would be made. With one of them in, the prover must fail. */
import type { AppName } from '../cluster/app.js'
import { moduleUrl, type Rewrite } from './rewrite.js'

export interface Bug {
  name: string
  /** The mistake, in words. */
  what: string
  app: AppName
  rewrites: Rewrite[]
  /** The rules that have to see it: one of them must. Any other breach may be the machine's. */
  rules: readonly string[]
  /** Row of the fault under which it shows. */
  row: string
  /** It shows only when nothing else makes a node look at the heads: some seconds after the last device has come. */
  quietFirst: boolean
  /** It takes so many changes and pushes a second to show; none when left out. */
  changes?: number
}

/** Many, for a short run. */
const CHANGES = 30

export const BUGS: readonly Bug[] = [
  {
    name: 'settle-before-push',
    what: 'push calls an entry finished, so that it is settled, before it is pushed',
    app: 'task',
    rewrites: [
      {
        module: moduleUrl('apps/task/dist/src/push.js'),
        find: 'async handle(whole) {',
        replace: `async handle(whole) { setTimeout(() => void this.pushLater(whole), 300); return {}; },
        async pushLater(whole) {`,
      },
    ],
    rules: ['bit'],
    row: '6',
    quietFirst: true,
  },
  {
    name: 'no-recheck',
    what: 'heads are not checked once more after the cutover to live delivery',
    app: 'connect',
    rewrites: [
      { module: moduleUrl('apps/connect/dist/src/open.js'), find: 'deps.sweep.soon(RECHECK_MS);', replace: '' },
    ],
    rules: ['bit'],
    row: '34b',
    quietFirst: true,
  },
  {
    name: 'trim-by-length',
    what: 'streams and logs are trimmed by their length, whether persist has got that far or not',
    app: 'task',
    rewrites: [
      {
        module: moduleUrl('packages/stream/dist/src/trim.js'),
        find: "const mark = await redis.get(keys.mark(partition, 'persist'));",
        // The logs too, or persist would find in them what it missed.
        replace: `await redis.xtrim(keys.messages(partition), 'MAXLEN', 10);
            for (const c of await redis.zrange(keys.recent(partition), 0, -1)) await redis.xtrim(keys.log(c), 'MAXLEN', 10);
            const mark = await redis.get(keys.mark(partition, 'persist'));`,
      },
    ],
    rules: ['accepted'],
    row: '28b',
    quietFirst: false,
  },
  {
    name: 'error-as-empty',
    what: 'a database that does not answer is shown as a page with nothing on it',
    app: 'logic',
    rewrites: [
      {
        module: moduleUrl('apps/logic/dist/src/history.js'),
        find: 'return toResponse(gathered, head);',
        replace: 'return toResponse(await gathered, head);',
      },
      {
        module: moduleUrl('apps/logic/dist/src/history.js'),
        find: '? await readUp(deps, conversation, { after: Math.max(after, floor), head, limit, refuseExpired })',
        replace: `? readUp(deps, conversation, { after: Math.max(after, floor), head, limit, refuseExpired })
            .catch(() => ({ rows: [], voids: [], complete: true }))`,
      },
    ],
    rules: ['honest pages'],
    row: '28c',
    quietFirst: false,
  },
  {
    name: 'no-once-key',
    what: 'the once-key is not looked at: a repeated send is a second entry',
    app: 'api',
    rewrites: [
      {
        module: moduleUrl('packages/stream/dist/src/append-call.js'),
        find: "clientId === '' ? '' : digestsOf(item)",
        replace: "''",
      },
    ],
    rules: ['once'],
    row: '2',
    quietFirst: false,
  },
  {
    name: 'recall-not-stored',
    what: 'persist stores a recall and forgets to take the text out of the row of its target',
    app: 'task',
    rewrites: [
      {
        module: moduleUrl('packages/store/dist/src/folds.js'),
        find: 'change && change.seq < entry.seq',
        replace: "change && change.type !== 'recall' && change.seq < entry.seq",
      },
    ],
    rules: ['recalled'],
    row: '2',
    quietFirst: false,
    changes: CHANGES,
  },
  {
    name: 'edit-twice',
    what: 'the once-key of a change is not looked at: a repeated edit is a second entry',
    app: 'api',
    rewrites: [
      {
        module: moduleUrl('packages/stream/dist/src/append-call.js'),
        find: "clientId === '' ? '' : digestsOf(item)",
        replace: "clientId === '' || item.change ? '' : digestsOf(item)",
      },
    ],
    rules: ['once'],
    row: '3b',
    quietFirst: false,
    changes: CHANGES,
  },
  {
    name: 'log-without-folds',
    what: 'a page of the log is shown as it was appended: what was recalled comes back',
    app: 'logic',
    rewrites: [
      {
        module: moduleUrl('packages/stream/dist/src/log.js'),
        find: 'return changed === 0 ? entries : foldAll(redis, keys, entries);',
        replace: 'return entries;',
      },
    ],
    rules: ['recalled', 'edited', 'reacted'],
    row: '2',
    quietFirst: false,
    changes: CHANGES,
  },
]
