/** The small parts of files: what a range asks for, what bytes are, what a browser is told, what a ticket is good for. */

import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { AppError } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import t from 'tap'
import { imageSize } from '../src/files/image-size.js'
import { inspect } from '../src/files/inspect.js'
import { decideType, declaredType, dispositionOf, requireAllowed } from '../src/files/media-type.js'
import { fromHeader, safeName } from '../src/files/name.js'
import { isKnown, rangeOf } from '../src/files/range.js'
import { createSlots } from '../src/files/slots.js'
import { startFileSweep } from '../src/files/sweep.js'
import { createFileTickets } from '../src/files/tickets.js'
import { tokenOf, world } from './world.js'

const version = { etag: '"abc"', modified: 'Sat, 21 Nov 2026 20:00:00 GMT', size: 100 }

t.test('a range is what RFC 9110 says, and what is no range gets the whole', async (t) => {
  const cases: [string | undefined, [number, number] | undefined][] = [
    [undefined, undefined],
    ['bytes=0-9', [0, 9]],
    ['bytes=90-', [90, 99]],
    ['bytes=-10', [90, 99]],
    ['bytes=-1000', [0, 99]],
    ['bytes=99-500', [99, 99]],
    ['bytes=5-4', undefined],
    ['bytes=0-1,5-6', undefined],
    ['lines=0-1', undefined],
    ['bytes=-', undefined],
    ['bytes=a-b', undefined],
  ]
  for (const [range, expected] of cases) {
    t.same(rangeOf({ range }, version), expected && { first: expected[0], last: expected[1] }, String(range))
  }
  for (const range of ['bytes=100-', 'bytes=-0', 'bytes=1000-2000'])
    t.throws(() => rangeOf({ range }, version), { code: 'range_not_satisfiable' }, range)
  const range = 'bytes=0-9'
  for (const ifRange of [version.etag, version.modified]) t.ok(rangeOf({ range, ifRange }, version), ifRange)
  for (const ifRange of ['"other"', 'W/"abc"', 'Sat, 21 Nov 2026 20:00:01 GMT'])
    t.equal(rangeOf({ range, ifRange }, version), undefined, ifRange)
  for (const ifNoneMatch of ['"abc"', 'W/"abc"', '"x", "abc"', '*'])
    t.ok(isKnown({ ifNoneMatch }, version), ifNoneMatch)
  t.notOk(isKnown({ ifNoneMatch: '"x"' }, version))
  t.notOk(isKnown({}, version))
})

t.test('bytes say what a file is before its sender does, and nothing is shown as an image that is none', async (t) => {
  t.equal(declaredType('Image/PNG; q=1'), 'image/png')
  for (const nothing of [undefined, '', 'png', 'application/octet-stream', 'a b/c'])
    t.equal(declaredType(nothing), undefined)
  t.equal(decideType('text/html', 'image/png'), 'image/png')
  t.equal(decideType('image/png', 'image/jpeg'), 'image/jpeg')
  t.equal(decideType('text/csv', undefined), 'text/csv')
  t.equal(decideType(undefined, undefined), 'application/octet-stream')
  t.equal(decideType('image/svg+xml', 'application/xml'), 'image/svg+xml')
  for (const sniffed of [undefined, 'application/pdf', 'application/xml'])
    t.throws(() => decideType('image/png', sniffed), { code: 'media_type_mismatch' }, String(sniffed))
  for (const patterns of [['*/*'], ['image/*'], ['text/csv', 'image/png']]) requireAllowed('image/png', patterns)
  t.throws(() => requireAllowed('image/png', ['image/jpeg', 'text/*']), { code: 'unsupported_media_type' })
})

t.test('what could run is for saving, and no name breaks out of its header', async (t) => {
  t.match(dispositionOf('image/png', 'a.png'), /^inline; filename="a\.png"; filename\*=UTF-8''a\.png$/)
  for (const type of ['text/html', 'image/svg+xml', 'application/pdf', 'application/xhtml+xml', 'text/javascript'])
    t.match(dispositionOf(type, 'x'), /^attachment; /, type)
  const nasty = dispositionOf('image/png', `a"b\\c%;é'(1).png`)
  t.equal(nasty, `inline; filename="a_b_c_;_'(1).png"; filename*=UTF-8''a%22b%5Cc%25%3B%C3%A9%27%281%29.png`)
  t.equal(safeName('../../etc/passwd'), 'passwd')
  t.equal(safeName('C:\\pictures\\cat.png'), 'cat.png')
  t.equal(safeName('a\u0000\u202Egnp.exe\r\n'), 'agnp.exe')
  for (const none of [undefined, '', '  ', '..', '/']) t.equal(safeName(none), 'file')
  t.equal([...safeName('é'.repeat(1_000))].length, 255)
  t.equal(fromHeader('gr%C3%BC%C3%9Fe.txt'), 'grüße.txt')
  t.equal(fromHeader('100%.txt'), '100%.txt')
})

t.test('the size of an image stands in its first bytes, and rubbish has none', async (t) => {
  const png = Buffer.alloc(24)
  png.writeUInt32BE(640, 16)
  png.writeUInt32BE(480, 20)
  const gif = Buffer.from('GIF89a\x80\x02\xe0\x01', 'latin1')
  const jpeg = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc0, 0, 17, 8, 1, 0xe0, 2, 0x80, 3, 0, 0, 0])
  const webp = Buffer.alloc(30)
  webp.write('RIFF\0\0\0\0WEBPVP8X', 'latin1')
  webp.writeUIntLE(639, 24, 3)
  webp.writeUIntLE(479, 27, 3)
  for (const [type, head] of Object.entries({ png, gif, jpeg, webp })) {
    t.same(imageSize(`image/${type}`, head), { width: 640, height: 480 }, type)
    for (let cut = 0; cut < head.length; cut++) imageSize(`image/${type}`, head.subarray(0, cut))
    t.equal(imageSize(`image/${type}`, Buffer.alloc(64)), undefined, `${type}: zeros`)
  }
})

t.test('bytes are counted, digested and stopped as they pass', async (t) => {
  const expected = { declared: 'text/plain', maxBytes: 10, allowed: ['*/*'] }
  async function* source(...chunks: string[]) {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  const through = async (inspection: ReturnType<typeof inspect>): Promise<string> => {
    let text = ''
    for await (const chunk of inspection.bytes) text += Buffer.from(chunk).toString()
    return text
  }
  const inspection = inspect(source('hello', 'world'), expected)
  t.equal(await through(inspection), 'helloworld')
  t.match(inspection.result(), {
    size: 10,
    mediaType: 'text/plain',
    sha256: '936a185caaa266bb9cbe981e9e05cb78cd732b0b3280eb944412bb6f8f8f07af',
  })
  await t.rejects(through(inspect(source('hello', 'world!'), expected)), { code: 'file_too_large' })
  await t.rejects(through(inspect(source('hello'), { ...expected, allowed: ['image/*'] })), {
    code: 'unsupported_media_type',
  })
  const empty = inspect(source(), expected)
  await through(empty)
  t.throws(() => empty.result(), { code: 'invalid_request' })
})

t.test('a ticket is good for its file and its user, for a while, and for nothing else', async (t) => {
  const tickets = createFileTickets('a secret')
  const identity = { user: 'alice', sessionId: 's-1', expiresAt: Date.now() + 60_000, scopes: undefined }
  const { ticket, expiresIn } = tickets.issue('file-1', identity)
  t.ok(expiresIn > 55 && expiresIn <= 60, 'not longer than the token')
  t.match(tickets.read('file-1', ticket), { user: 'alice', sessionId: 's-1' })
  const forged = [
    () => tickets.read('file-2', ticket),
    () => createFileTickets('another').read('file-1', ticket),
    () => tickets.read('file-1', `${Buffer.from('["bob",null,9e15]').toString('base64url')}.${ticket.split('.')[1]}`),
    () => tickets.read('file-1', ''),
    () => tickets.read('file-1', `${ticket}.x`),
    () => tickets.read('file-1', 'x'.repeat(5_000)),
    () => tickets.read('file-1', tickets.issue('file-1', { ...identity, expiresAt: Date.now() - 1 }).ticket),
  ]
  for (const read of forged) t.throws(read, { code: 'unauthenticated' })
})

t.test('a file that cannot be deleted keeps no other from it', async (t) => {
  const left = new Set(['stuck', ...Array.from({ length: 250 }, (_, i) => `file-${i}`)])
  const deleted = new Set<string>()
  const lines: { file?: string; files?: number }[] = []
  let asked = 0
  const deps = {
    logic: {
      async deletedFiles({ limit = 0 }: { limit?: number }) {
        asked++
        return { ids: [...left].slice(0, limit) }
      },
      async forgetFiles({ ids = [] }: { ids?: readonly string[] }) {
        for (const id of ids) if (deleted.has(id)) left.delete(id)
        return {}
      },
    },
    blobs: {
      async delete(id: string) {
        if (id === 'stuck') throw new AppError('unavailable')
        deleted.add(id)
      },
    },
    log: createLogger(
      { app: 'api', instance: 'test', level: 'info' },
      { write: (line) => void lines.push(JSON.parse(line) as object) },
    ),
    // The next sweep would be in a minute.
    orphanMs: 3_600_000,
  }
  const sweep = startFileSweep(deps)
  while (left.size > 1) await new Promise((resolve) => setTimeout(resolve, 5))
  await sweep.stop()
  t.same([...left], ['stuck'])
  t.match(lines[0], { file: 'stuck', files: 1 })

  asked = 0
  for (let i = 0; i < 150; i++) left.add(`more-${i}`)
  const none = startFileSweep({ ...deps, blobs: { delete: () => Promise.reject(new AppError('unavailable')) } })
  while (lines.at(-1)?.files !== 100) await new Promise((resolve) => setTimeout(resolve, 5))
  await none.stop()
  t.equal(asked, 1, 'where nothing can be deleted, it is left for later')
})

t.test('uploads at once are bounded, by user and in all', async (t) => {
  const slots = createSlots()
  const codeOf = (user: string): string | undefined => {
    try {
      slots.take(user)
      return undefined
    } catch (error) {
      return (error as AppError).code
    }
  }
  const free = Array.from({ length: 4 }, () => slots.take('alice'))
  t.equal(codeOf('alice'), 'rate_limited')
  for (const one of free) one()
  t.equal(slots.taken, 0)
  for (let i = 0; i < 64; i++) slots.take(`user-${i}`)
  t.equal(codeOf('somebody'), 'overloaded')
  t.equal(slots.taken, 64)
})

/** A request whose body comes bit by bit. */
function begin(port: number, path: string, type: string, as = 'alice'): ClientRequest {
  const headers = { authorization: `Bearer ${tokenOf(as)}`, 'content-type': type, 'transfer-encoding': 'chunked' }
  const call = request({ port, path: `/api/v1/${path}`, method: 'POST', headers })
  // Whoever is cut after the answer.
  call.on('error', () => undefined)
  call.flushHeaders()
  return call
}

async function answer(call: ClientRequest): Promise<{ status: number; code: string | undefined }> {
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: response.statusCode!, code: (JSON.parse(text) as { code?: string }).code }
}

/** Writes until somebody says that it is enough. */
function drip(call: ClientRequest, bytes: string, everyMs: number): () => void {
  const timer = setInterval(() => call.write(bytes), everyMs)
  return () => clearInterval(timer)
}

const SOON = { requestMs: 300, headersMs: 300, checkEveryMs: 30 }

t.test('an upload may take longer than other requests, which never may', async (t) => {
  const { listen, uploaded } = await world(t, { limits: SOON })
  const port = await listen()
  const upload = begin(port, 'files', 'text/plain')
  const answered = answer(upload)
  const stop = drip(upload, 'x', 30)
  const timedOut = { status: 408, code: 'request_timeout' }
  for (let i = 0; i < 3; i++) {
    const other = begin(port, 'messages', 'application/json')
    const dripped = drip(other, ' ', 30)
    t.match(await answer(other), timedOut, 'while the upload runs, and longer than it may')
    dripped()
  }
  stop()
  upload.end()
  t.match(await answered, { status: 201 })
  t.ok(uploaded[0]!.length > 20)
  t.match(await answer(begin(port, 'messages', 'application/json')), timedOut, 'a body that does not come')
})

t.test('whoever sends next to nothing is not waited for, in whatever form, and gives the slot back', async (t) => {
  const { listen, uploaded } = await world(t, { limits: { ...SOON, uploadGraceMs: 400, uploadBytesPerS: 200 } })
  const port = await listen()
  const steady = begin(port, 'files', 'text/plain', 'bob')
  const answered = answer(steady)
  // 500 bytes in a second, and so far more than 200.
  const stop = drip(steady, 'x'.repeat(15), 30)
  const types = ['text/plain', 'text/plain', 'multipart/form-data; boundary=b', 'multipart/form-data; boundary=b']
  const slow = types.map((type) => begin(port, 'files', type))
  const opening = '--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx'
  slow[1]!.write('x')
  slow[3]!.write(opening)
  const drips = [slow[0]!, slow[2]!].map((call) => drip(call, 'x', 200))
  const answers = await Promise.all(slow.map(answer))
  for (const each of drips) each()
  t.match(answers, Array(4).fill({ status: 408, code: 'request_timeout' }))
  stop()
  steady.end()
  t.match(await answered, { status: 201 })
  const again = async (): Promise<number> => {
    const call = begin(port, 'files', 'text/plain')
    call.end('again')
    return (await answer(call)).status
  }
  while ((await again()) !== 201) await new Promise((resolve) => setTimeout(resolve, 50))
  t.same(uploaded.map(String).slice(1), ['again'], 'nothing is left of what came too slowly')
})

t.test('an upload may not take for ever, however fast it comes', async (t) => {
  const { listen } = await world(t, { limits: SOON, uploadMs: 500 })
  const upload = begin(await listen(), 'files', 'text/plain')
  const stop = drip(upload, 'x', 30)
  t.match(await answer(upload), { status: 408, code: 'request_timeout' })
  stop()
})
