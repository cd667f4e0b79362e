import { AppError } from '@tidings/protocol'
import { createMetrics, noTracing, stageMetrics } from '@tidings/service'
import type { AppendItem } from '@tidings/stream'
import t from 'tap'
import { type Attachment, createAcceptor, type Draft } from '../src/index.js'
import { unscreened } from './unscreened.js'

const FILE = 'AbCdEfGhIjKlMnOpQrSt_-'
const content = JSON.stringify({ url: `/api/v1/files/${FILE}`, size: 1, mediaType: 'image/png', name: 'a' })
const draft = (over: Partial<Draft> = {}): Draft => ({
  ...{ from: 'alice', conversation: 'dm:alice:bob', type: 'image', content, clientId: '', trace: '' },
  ...over,
})

function acceptorWith(
  steps: string[],
  refuse: { permit?: boolean; file?: boolean; away?: boolean; known?: string } = {},
) {
  const attached: Attachment[] = []
  const appended: AppendItem[] = []
  let ids = 0
  const acceptor = createAcceptor({
    admit: () => undefined,
    permits: {
      forget: () => undefined,
      async check() {
        steps.push('permit')
        if (refuse.permit) throw new AppError('blocked')
        return { freshUntil: 0 }
      },
    },
    async attach(attachment) {
      steps.push('attach')
      attached.push(attachment)
      if (refuse.file) throw new AppError('file_not_found')
      if (refuse.away) throw new AppError('unavailable')
    },
    ...unscreened,
    indexConversation: () => undefined,
    nextId: () => String(++ids),
    appender: {
      waiting: 0,
      idle: async () => undefined,
      serverOf: () => 0,
      async append(item) {
        steps.push('append')
        const known = item.clientId !== '' && item.clientId === refuse.known
        if (item.refusal && !known) throw item.refusal
        appended.push(item)
        const at = { sentAt: 0, streamId: '0-0', partition: 0, generation: 1, duplicate: known }
        return { id: item.id, seq: appended.length, ...at }
      },
    },
    metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
    tracing: noTracing,
  })
  return { acceptor, attached, appended }
}

t.test(
  'a message with an uploaded file is written down with its id, after the permit and before the append',
  async (t) => {
    const steps: string[] = []
    const { acceptor, attached, appended } = acceptorWith(steps)
    const { id } = await acceptor.accept(draft())
    t.same(steps, ['permit', 'attach', 'append'])
    t.match(attached, [{ user: 'alice', conversation: 'dm:alice:bob', message: id, files: [{ id: FILE }] }])
    t.equal(appended[0]!.id, id)
    t.equal(appended[0]!.content, content, 'the very text')
  },
)

t.test('what refers to no upload asks nobody, and what is not right is not written', async (t) => {
  const steps: string[] = []
  const { acceptor, attached } = acceptorWith(steps)
  await acceptor.accept(draft({ content: content.replace(`/api/v1/files/${FILE}`, 'https://example.com/a.png') }))
  await acceptor.accept(draft({ type: 'text' }))
  await acceptor.accept(draft({ type: 'x-image' }))
  t.same(attached, [])
  await t.rejects(acceptor.accept(draft({ content: '{}' })), { code: 'invalid_content' })
  t.equal(steps.filter((step) => step === 'append').length, 3)
})

t.test('a sender without a permit attaches nothing, and one who may not read the file sends nothing', async (t) => {
  const steps: string[] = []
  await t.rejects(acceptorWith(steps, { permit: true }).acceptor.accept(draft()), { code: 'blocked' })
  await t.rejects(acceptorWith(steps, { file: true }).acceptor.accept(draft()), { code: 'file_not_found' })
  t.same(steps, ['permit', 'permit', 'attach'])
})

t.test('what an edit shows belongs to its target, which is there already', async (t) => {
  const { acceptor, attached, appended } = acceptorWith([])
  const target = { id: '77', seq: 5, sentAt: 0 }
  const before = '{"target":"77","seq":5,"content":'
  const change = { what: 'edit', target, base: 0, until: 0, detail: before.length } as const
  const { id } = await acceptor.accept(draft({ type: 'edit', edits: 'image', content: `${before}${content}}`, change }))
  t.match(attached, [{ message: '77', target: 5, files: [{ id: FILE }] }])
  t.not(id, '77')
  t.equal(appended[0]!.id, id, 'its entry is another one')
  await acceptor.accept(draft())
  t.equal(attached[1]!.target, undefined)
})

t.test('a retry of what was accepted is told so, though the file is gone by now', async (t) => {
  const steps: string[] = []
  const { acceptor } = acceptorWith(steps, { file: true, known: 'c-1' })
  t.match(await acceptor.accept(draft({ clientId: 'c-1' })), { duplicate: true })
  t.same(steps, ['permit', 'attach', 'append'], 'the append knows it')
  await t.rejects(acceptor.accept(draft({ clientId: 'c-2' })), { code: 'file_not_found' })
  const away = acceptorWith(steps, { away: true, known: 'c-1' })
  steps.length = 0
  await t.rejects(away.acceptor.accept(draft({ clientId: 'c-1' })), { code: 'unavailable' })
  t.same(steps, ['permit', 'attach'], 'what is unknown is not a no')
})
