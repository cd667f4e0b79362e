import t from 'tap'
import { PollSocket } from '../src/poll-socket.js'

const frame = (conversation: string, seq: number): string =>
  JSON.stringify({
    op: 'message',
    message: {
      id: String(seq),
      conversation,
      seq,
      from: 'a',
      type: 'text',
      content: { text: '"conversation":"dm:x:y"' },
    },
  })
const create = () =>
  new PollSocket(
    60_000,
    256 * 1024,
    () => undefined,
    () => undefined,
  )
const gone = new AbortController().signal

t.test(
  'an answer tells of no more conversations than an ack of a request can name, and the rest follows',
  async (t) => {
    const socket = create()
    socket.opening = false
    const longest = (i: number) => `dm:${String(i).padStart(64, 'a')}:${'b'.repeat(64)}`
    const sent: string[] = []
    for (let i = 0; i < 100; i++) {
      for (const seq of [1, 2]) {
        sent.push(frame(longest(i), seq))
        socket.send(sent.at(-1)!)
      }
    }
    const got: string[] = []
    for (let more = true; more; ) {
      const answer = await socket.take(10, gone)
      const names = new Set(answer.frames.map((one) => JSON.parse(one).message.conversation as string))
      t.ok(!answer.more || names.size >= 5, 'and not of few')
      t.ok([...names].join('').length <= 1_200, `${names.size} conversations`)
      got.push(...answer.frames)
      more = answer.more
      socket.confirm()
    }
    t.same(got, sent)
  },
)

t.test('what was not confirmed comes again, and counts', async (t) => {
  const socket = create()
  socket.opening = false
  for (let i = 0; i < 60; i++) socket.send(frame(`room:${String(i).padStart(16, '0')}`, 1))
  const first = await socket.take(10, gone)
  t.ok(first.frames.length < 60)
  t.ok(first.more)
  t.same(await socket.take(10, gone), first, 'there is no room for others beside it')
  socket.confirm()
  const second = await socket.take(10, gone)
  t.equal(first.frames.length + second.frames.length, 60)
})

t.test('one conversation has all its frames in an answer, however its name is', async (t) => {
  const socket = create()
  socket.opening = false
  for (let seq = 1; seq <= 200; seq++) socket.send(frame(`dm:${'a'.repeat(64)}:${'b'.repeat(64)}`, seq))
  socket.send('{"op":"pong"}')
  t.equal((await socket.take(10, gone)).frames.length, 201)
})
