/** The small parts of files: what a range asks for, what bytes are, what a browser is told, what a ticket is good for. */

import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import type { AppError } from '@tidings/protocol'
import t from 'tap'
import { imageSize } from '../src/files/image-size.js'
import { inspect } from '../src/files/inspect.js'
import { decideType, declaredType, dispositionOf, requireAllowed } from '../src/files/media-type.js'
import { fromHeader, safeName } from '../src/files/name.js'
import { isKnown, rangeOf } from '../src/files/range.js'
import { createSlots } from '../src/files/slots.js'
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

t.test('uploads at once are bounded, by user and in all', async (t) => {
  const told: boolean[] = []
  const slots = createSlots((some) => told.push(some))
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
  t.same(told, [true, false])
  for (let i = 0; i < 64; i++) slots.take(`user-${i}`)
  t.equal(codeOf('somebody'), 'overloaded')
  t.equal(slots.taken, 64)
})

t.test('an upload may take longer than other requests, which are as long as ever when it is over', async (t) => {
  const { listen, uploaded } = await world(t, { limits: { requestMs: 300, headersMs: 300, checkEveryMs: 30 } })
  const port = await listen()
  const begin = (path: string, type: string): ClientRequest => {
    const headers = {
      authorization: `Bearer ${tokenOf('alice')}`,
      'content-type': type,
      'transfer-encoding': 'chunked',
    }
    const call = request({ port, path: `/api/v1/${path}`, method: 'POST', headers })
    call.flushHeaders()
    return call
  }
  const answer = async (call: ClientRequest): Promise<number> => {
    const [response] = (await once(call, 'response')) as [IncomingMessage]
    response.resume()
    return response.statusCode!
  }
  const upload = begin('files', 'text/plain')
  const answered = answer(upload)
  for (let i = 0; i < 20; i++) {
    upload.write('x')
    // Beyond the time of other requests, in all.
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  upload.end()
  t.equal(await answered, 201)
  t.same(uploaded.map(String), ['x'.repeat(20)])
  t.equal(await answer(begin('messages', 'application/json')), 408, 'a body that does not come')
})
