/** What only a socket can do wrong: bad framing, slow or endless requests, going away. */
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { tokenOf, type World, world } from './world.js'

const LIMITS = { requestMs: 400, headersMs: 300, checkEveryMs: 50 }

interface Answer {
  /** How many there were; what follows is the first. */
  answers: number
  status: number
  head: string
  body: Record<string, unknown>
  ms: number
}

const PROBLEM = /^content-type: application\/problem\+json/im

/** Writes, then reads until the server closes. */
function talk(port: number, write: (send: (text: string) => boolean) => void): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const began = performance.now()
    let text = ''
    const socket = connect(port, '127.0.0.1', () => write((part) => socket.writable && socket.write(part)))
    socket.setEncoding('utf8')
    socket.on('data', (part) => {
      text += part
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
    })
    socket.on('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n')
      const answers = text.split('HTTP/1.1 ').length - 1
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1])
      resolve({
        answers,
        status,
        head,
        body: PROBLEM.test(head) ? JSON.parse(body) : {},
        ms: performance.now() - began,
      })
    })
  })
}

function isAnswer(t: Test, answer: Answer, status: number, code: string, about: string): void {
  t.match(answer, { status, body: { code, status, title: String, requestId: String } }, about)
  t.match(answer.head, /content-type: application\/problem\+json/i, `${about}: media type`)
  t.match(answer.head, /x-request-id: /i, `${about}: request id`)
}

async function listening(t: Test): Promise<{ w: World; port: number }> {
  const w = await world(t, { limits: LIMITS })
  return { w, port: await w.listen() }
}

const post = (...headers: string[]): string =>
  [
    'POST /api/v1/messages HTTP/1.1',
    'host: here',
    `authorization: Bearer ${tokenOf('alice')}`,
    'content-type: application/json',
    ...headers,
    '',
    '',
  ].join('\r\n')

test('bad framing is 400 and the end of the socket (33)', async (t) => {
  const { w, port } = await listening(t)
  const body = '{"to":{"user":"bob"},"content":{}}'
  const bad: Record<string, string> = {
    garbage: 'hello\r\n\r\n',
    'length and chunks': `${post('content-length: 34', 'transfer-encoding: chunked')}0\r\n\r\n`,
    'two lengths': `${post('content-length: 34', 'content-length: 33')}${body}`,
    'a bad length': `${post('content-length: +34')}${body}`,
    'a bad chunk': `${post('transfer-encoding: chunked')}zz\r\n`,
    'a bad header': `${post('a b: c')}`,
    'a bare line feed in a header': post('x: a\nb: c').replace('\nb', '\n b:'),
  }
  for (const [about, text] of Object.entries(bad)) {
    isAnswer(t, await talk(port, (send) => send(text)), 400, 'invalid_request', about)
  }
  t.same(w.drafts, [])
})

test('two Host headers are refused (33)', async (t) => {
  const { w, port } = await listening(t)
  const text = `${post('Host: other', 'content-length: 34', 'connection: close')}{"to":{"user":"bob"},"content":{}}`
  isAnswer(t, await talk(port, (send) => send(text)), 400, 'invalid_request', 'two hosts')
  t.same(w.drafts, [])
})

test('two Authorization headers are no token (27, 33)', async (t) => {
  const { w, port } = await listening(t)
  const second = `Authorization: Bearer ${tokenOf('mallory')}`
  const text = `${post(second, 'content-length: 34', 'connection: close')}{"to":{"user":"bob"},"content":{}}`
  isAnswer(t, await talk(port, (send) => send(text)), 401, 'unauthenticated', 'two tokens')
  t.same(w.drafts, [])
})

test('64 KiB of headers are 431 (33)', async (t) => {
  const { port } = await listening(t)
  const text = post(`x-big: ${'x'.repeat(64 * 1024)}`)
  isAnswer(t, await talk(port, (send) => send(text)), 431, 'headers_too_large', 'big headers')
})

test('a body that drips is 408 in time (34)', async (t) => {
  const { w, port } = await listening(t)
  let timer: NodeJS.Timeout | undefined
  const answer = await talk(port, (send) => {
    send(post('content-length: 34'))
    timer = setInterval(() => send(' '), 40)
  })
  clearInterval(timer)
  isAnswer(t, answer, 408, 'request_timeout', 'slow body')
  t.ok(answer.ms < LIMITS.requestMs + 400, `${answer.ms} ms`)
  t.same(w.drafts, [])
})

test('headers that drip are 408 in time (34)', async (t) => {
  const { port } = await listening(t)
  let timer: NodeJS.Timeout | undefined
  const answer = await talk(port, (send) => {
    send('GET /api/v1/me HTTP/1.1\r\nhost: here\r\nx-slow: ')
    timer = setInterval(() => send('x'), 40)
  })
  clearInterval(timer)
  isAnswer(t, answer, 408, 'request_timeout', 'slow headers')
})

test('chunks without an end are 413, or 408 when they stop coming (3)', async (t) => {
  const { w, port } = await listening(t)
  const chunk = `2000\r\n${' '.repeat(0x2000)}\r\n`
  const endless = await talk(port, (send) => {
    send(post('transfer-encoding: chunked'))
    for (let i = 0; i < 9; i++) send(chunk)
  })
  isAnswer(t, endless, 413, 'payload_too_large', 'too many')
  const stalled = await talk(port, (send) => {
    send(post('transfer-encoding: chunked'))
    send(chunk)
  })
  isAnswer(t, stalled, 408, 'request_timeout', 'stalled')
  t.same(w.drafts, [])
})

test('a client that goes away in the middle leaves nothing behind', async (t) => {
  const { w, port } = await listening(t)
  let release = (): void => {}
  const started = new Promise<void>((resolve) => {
    w.behind.accept = ({ conversation }) => {
      resolve()
      return new Promise((answer) => {
        release = () => answer({ id: '1', conversation, seq: 1, sentAt: 1, duplicate: false })
      })
    }
  })
  const socket = connect(port, '127.0.0.1', () => {
    socket.write(`${post('content-length: 34')}{"to":{"user":"bob"},"content":{}}`)
  })
  await started
  socket.destroy()
  const counted = async (): Promise<boolean> => {
    const text = await w.metrics.metrics()
    return /tidings_http_in_flight\{[^}]*\} 0/.test(text) && /status="cut"[^}]*\} 1/.test(text)
  }
  for (let tries = 0; tries < 200 && !(await counted()); tries++) await delay(10)
  t.ok(await counted(), 'it is counted as cut, and not in flight any more')
  release()
  await delay(10)
  t.ok(await counted(), 'its late answer goes nowhere')
})

test('requests that follow on one connection are all answered', async (t) => {
  const { port } = await listening(t)
  const one = `${post('content-length: 34')}{"to":{"user":"bob"},"content":{}}`
  const last = `${post('content-length: 34', 'connection: close')}{"to":{"user":"bob"},"content":{}}`
  t.match(await talk(port, (send) => send(`${one}${one}${last}`)), { status: 202, answers: 3 })
})
