/** Deliveries, to endpoints that answer when the test says. */
import { createMetrics, stageMetrics } from '@tidings/service'
import {
  allWebhooks,
  changeWebhook,
  insertDeliveries,
  insertWebhook,
  transaction,
  type WebhookRow,
} from '@tidings/store'
import t, { type Test } from 'tap'
import type { Answer } from '../../src/notify/outgoing.js'
import { startWebhookSender } from '../../src/notify/webhook-sender.js'
import { log, until, world } from '../world.js'

async function stage(t: Test) {
  const { store } = await world(t)
  const hooks = new Map<string, WebhookRow>()
  /** Requests that wait for an answer, by the host of their endpoint. */
  const waiting: { host: string; answer(answer: Answer): void }[] = []
  const looked = new Set<string>()
  const sender = startWebhookSender({
    hooks: {
      get(id) {
        looked.add(id)
        return hooks.get(id)
      },
    },
    ...{ store, log, retryForMs: 3_600_000, retentionDays: 0, lookEveryMs: 20 },
    post: ({ url }) => new Promise((resolve) => waiting.push({ host: new URL(url).host, answer: resolve })),
    cut: () => undefined,
    metrics: stageMetrics(createMetrics('task', 'test'), 'webhook'),
  })
  const answerAll = () => {
    for (const { answer } of waiting.splice(0)) answer({ status: 200, retryAfterMs: 0 })
  }
  t.teardown(async () => {
    const answering = setInterval(answerAll, 10)
    await sender.stop()
    clearInterval(answering)
  })
  return {
    ...{ waiting, answerAll },
    /** Webhooks that the sender has asked about. */
    looked,
    /** The webhook goes to another endpoint from now on. */
    async move(id: string, url: string): Promise<void> {
      await changeWebhook(store, id, () => ({ url }))
      hooks.set(id, { ...hooks.get(id)!, url })
    },
    async hook(id: string): Promise<WebhookRow> {
      const row: WebhookRow = {
        ...{ id, url: `https://${id}.example.com/`, events: ['message'], rooms: [], users: [] },
        ...{ secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', createdBy: 'test', createdAt: new Date() },
        ...{ oldSecret: null, oldSecretUntil: null, disabledAt: null, disabledBecause: null, dropped: 0 },
      }
      await insertWebhook(store, row, 100)
      hooks.set(id, row)
      return row
    },
    due: (webhook: string, events: number) =>
      transaction(store, (db) =>
        insertDeliveries(
          db,
          Array.from({ length: events }, (_, i) => ({ webhook, eventId: `evt_${i}`, body: '{}' })),
          new Date(),
        ),
      ),
    rows: () => allWebhooks(store),
    asked: (id: string) => waiting.some(({ host }) => host === `${id}.example.com`),
  }
}

t.test('however many webhooks are slow and have much to be told, there is room for one more', async (t) => {
  const { hook, due, asked, answerAll, waiting, looked } = await stage(t)
  const slow = Array.from({ length: 10 }, (_, i) => `slow${i}`)
  for (const id of slow) {
    await hook(id)
    await due(id, 200)
  }
  await hook('quick')
  const many = () => slow.filter(asked).length >= 8
  await until('they are asked', many)
  await due('quick', 1)
  // Each time that slow ones have answered, they have as much to be told as before.
  for (let turn = 0; turn < 4; turn++) {
    looked.clear()
    await until('there was a look at what is due', () => asked('quick') || (looked.has('quick') && many()))
    if (!asked('quick')) answerAll()
  }
  await until('the quick one is asked beside them', () => asked('quick'))
  t.ok(waiting.length <= 256, `${waiting.length} requests are on their way`)
})

t.test('an endpoint that is gone ends the webhook, unless that goes elsewhere by now', async (t) => {
  const { hook, due, asked, move, rows, waiting } = await stage(t)
  await hook('old')
  await due('old', 2)
  await until('the old one is asked', () => waiting.length === 2)
  await move('old', 'https://new.example.com/')
  for (const { answer } of waiting.splice(0)) answer({ status: 410, retryAfterMs: 0 })
  await until('the new one is asked', () => asked('new'))
  t.match(await rows(), [{ url: 'https://new.example.com/', disabledAt: null, disabledBecause: null }])
  for (const { answer } of waiting.splice(0)) answer({ status: 410, retryAfterMs: 0 })
  await until('it is ended', async () => (await rows())[0]!.disabledBecause === 'gone')
})
