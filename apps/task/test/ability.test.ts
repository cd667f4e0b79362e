import { setTimeout as delay } from 'node:timers/promises'
import { createLogger } from '@tidings/service'
import type { Group } from '@tidings/stream'
import t, { type Test } from 'tap'
import { watchAbility } from '../src/ability.js'

const log = createLogger({ app: 'task', instance: 'test', level: 'silent' })

async function until(fact: () => boolean): Promise<void> {
  for (const end = performance.now() + 30_000; !fact(); ) {
    if (performance.now() > end) throw new Error(`not so: ${fact}`)
    await delay(5)
  }
}

function watched(t: Test, afterMs: number) {
  const down = new Set<Group>()
  const told: string[] = []
  let looks = 0
  let deaf = false
  const answers = (group: Group) => async () => {
    looks++
    if (down.has(group)) throw new Error('away')
  }
  const ability = watchAbility(
    {
      able: new Map([
        ['persist', answers('persist')],
        ['notify', answers('notify')],
      ]),
      async tell(unable) {
        if (deaf) throw new Error('etcd is away')
        told.push(unable.join())
      },
      log,
    },
    afterMs,
  )
  t.teardown(() => ability.stop())
  return {
    down,
    told,
    looks: () => looks,
    deafen: (is: boolean) => {
      deaf = is
    },
  }
}

t.test('what a worker cannot serve is told once, until it can', async (t) => {
  const { down, told, deafen } = watched(t, 1)
  down.add('persist')
  await until(() => told.length === 1)
  t.same(told, ['persist'])
  down.add('notify')
  await until(() => told.length === 2)
  t.same(told[1], 'notify,persist')
  deafen(true)
  down.clear()
  await delay(1_500)
  t.equal(told.length, 2, 'nobody hears it')
  deafen(false)
  await until(() => told.length === 3)
  t.same(told[2], '')
})

t.test('a short absence is told to nobody', async (t) => {
  const { down, told, looks } = watched(t, 60_000)
  down.add('persist')
  const before = looks()
  await until(() => looks() > before + 4)
  t.same(told, [])
})
