/** Files as people use them: uploaded, sent, read by those who have them in a conversation, and by nobody else. */
import { readdir } from 'node:fs/promises'
import { request } from 'node:http'
import { deflateSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { type Reply, type TestUser, until, type World, type WorldOptions, world } from '../src/index.js'

interface Stored {
  id: string
  url: string
  name: string
  mediaType: string
  size: number
  sha256: string
  width?: number
  height?: number
}

/** A real PNG of 3 by 2 pixels, and as many bytes more as are wanted. */
function png(more = 0): Buffer {
  const chunk = (type: string, data: Buffer): Buffer => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(data.length)
    return Buffer.concat([length, Buffer.from(type, 'latin1'), data, Buffer.alloc(4)])
  }
  const header = Buffer.from([0, 0, 0, 3, 0, 0, 0, 2, 8, 0, 0, 0, 0])
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.alloc(8))),
    chunk('tEXt', Buffer.alloc(more, 'x')),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

interface FilesWorld extends World {
  upload(as: TestUser, bytes: Buffer | FormData, headers?: Record<string, string>, path?: string): Promise<Reply>
  /** A file of somebody, of the type that it is said to be. */
  file(as: TestUser, bytes?: Buffer, type?: string): Promise<Stored>
  read(as: TestUser | undefined, path: string, headers?: Record<string, string>, method?: string): Promise<Response>
  /** The names of all files on the disk. */
  onDisk(): Promise<string[]>
}

async function filesWorld(t: Test, options: WorldOptions = {}): Promise<FilesWorld> {
  const w = await world(t, options)
  const at = (path: string): string => `${w.apis[0]}${path.startsWith('/') ? path : `/api/v1/${path}`}`
  const authorization = (as: TestUser): Record<string, string> => ({ authorization: `Bearer ${as.token}` })
  async function upload(as: TestUser, bytes: Buffer | FormData, headers = {}, path = 'files'): Promise<Reply> {
    const body = bytes instanceof FormData ? bytes : new Uint8Array(bytes)
    const response = await fetch(at(path), { method: 'POST', headers: { ...authorization(as), ...headers }, body })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, body: JSON.parse(text) as Reply['body'] }
  }
  return {
    ...w,
    upload,
    async file(as, bytes = png(), type = 'image/png') {
      const reply = await upload(as, bytes, { 'content-type': type, 'x-file-name': 'cat.png' })
      if (reply.status !== 201) throw new Error(`uploading: ${reply.status} ${reply.text}`)
      return (reply.body as unknown as { file: Stored }).file
    },
    read: (as, path, headers = {}, method = 'GET') =>
      fetch(at(path), { method, headers: { ...(as && authorization(as)), ...headers } }),
    async onDisk() {
      const found = await readdir(w.env.TIDINGS_FILES_DIR!, { recursive: true, withFileTypes: true }).catch(() => [])
      return found.filter((entry) => entry.isFile()).map(({ name }) => name)
    },
  }
}

const shown = ({ url, size, mediaType, name }: Stored, over: object = {}) => ({ url, size, mediaType, name, ...over })
const sendImage = (w: World, from: TestUser, to: object, content: object, over: object = {}) =>
  w.http<Record<string, never> & { code?: string; seq: number }>('POST', 'messages', {
    token: from.token,
    body: { to, type: 'image', content, ...over },
  })

t.test(
  'a file is uploaded, shown in a message, and read at once by those who get it, and by nobody else',
  async (t) => {
    const w = await filesWorld(t, { count: { api: 1, logic: 2 } })
    const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
    const bytes = png(200_000)
    const file = await w.file(alice, bytes)
    t.match(file, { name: 'cat.png', mediaType: 'image/png', size: bytes.length, width: 3, height: 2 })
    t.equal((await w.read(alice, file.url)).status, 200, 'its owner')
    t.equal((await w.read(bob, file.url)).status, 404, 'nobody else, before it is sent')

    // MySQL gets nothing as long as no worker runs: what bob sees comes from the log.
    await w.stop('task')
    const sent = await sendImage(w, alice, { user: bob.name }, shown(file, { width: 3, height: 2 }))
    t.equal(sent.status, 202, sent.text)
    const reply = await w.read(bob, file.url)
    t.equal(reply.status, 200)
    t.ok(Buffer.from(await reply.arrayBuffer()).equals(bytes), 'byte for byte')
    t.match(Object.fromEntries(reply.headers), {
      'content-type': 'image/png',
      'content-length': String(bytes.length),
      'content-disposition': /^inline; filename="cat\.png"/,
      'x-content-type-options': 'nosniff',
      'content-security-policy': /sandbox/,
      'accept-ranges': 'bytes',
      'cache-control': 'private, no-cache',
      etag: `"${file.sha256}"`,
    })
    for (const [as, status] of [
      [eve, 404],
      [undefined, 401],
    ] as const) {
      const refused = await w.read(as, file.url)
      t.equal(refused.status, status)
      t.match(await refused.json(), { code: status === 404 ? 'file_not_found' : 'unauthenticated' })
    }
    await w.start('task')
    const stored = () =>
      w.http<{ state: { stored: boolean } }>('GET', `messages/${(sent.body as { id?: string }).id}`, {
        token: bob.token,
      })
    await until('it is stored', async () => (await stored()).body.state?.stored)
    t.equal((await w.read(bob, file.url)).status, 200, 'and from MySQL')
    t.equal((await w.read(eve, file.url)).status, 404)

    await w.stop('api')
    await w.start('api')
    const after = await fetch(`${w.apis.at(-1)}${file.url}`, { headers: { authorization: `Bearer ${bob.token}` } })
    t.ok(Buffer.from(await after.arrayBuffer()).equals(bytes), 'another process has it, too')
  },
)

t.test('ranges, conditions and HEAD', async (t) => {
  const w = await filesWorld(t)
  const alice = await w.user()
  const bytes = png(1_000)
  const file = await w.file(alice, bytes)
  const part = await w.read(alice, file.url, { range: 'bytes=10-19' })
  t.equal(part.status, 206)
  t.equal(part.headers.get('content-range'), `bytes 10-19/${bytes.length}`)
  t.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20)))
  const end = await w.read(alice, file.url, { range: 'bytes=-5', 'if-range': `"${file.sha256}"` })
  t.ok(Buffer.from(await end.arrayBuffer()).equals(bytes.subarray(-5)))
  const old = await w.read(alice, file.url, { range: 'bytes=-5', 'if-range': '"other"' })
  t.equal(old.status, 200, 'of another version it gets the whole')
  t.equal((await old.arrayBuffer()).byteLength, bytes.length)
  const outside = await w.read(alice, file.url, { range: `bytes=${bytes.length}-` })
  t.equal(outside.status, 416)
  t.equal(outside.headers.get('content-range'), `bytes */${bytes.length}`)
  t.match(await outside.json(), { code: 'range_not_satisfiable' })
  const known = await w.read(alice, file.url, { 'if-none-match': `"${file.sha256}"` })
  t.equal(known.status, 304)
  const head = await w.read(alice, file.url, {}, 'HEAD')
  t.equal(head.status, 200)
  t.equal(head.headers.get('content-length'), String(bytes.length))
  t.equal((await head.arrayBuffer()).byteLength, 0)
})

t.test('forms work as well, and a form with more than one file leaves nothing', async (t) => {
  const w = await filesWorld(t)
  const alice = await w.user()
  const form = new FormData()
  form.append('note', 'hello')
  form.append('file', new Blob([new Uint8Array(png())], { type: 'image/png' }), '../Grüße.png')
  const reply = await w.upload(alice, form)
  t.equal(reply.status, 201, reply.text)
  t.match(reply.body, { file: { name: 'Grüße.png', mediaType: 'image/png', size: png().length } })
  const before = await w.onDisk()
  t.equal(before.length, 1)
  form.append('second', new Blob(['two'], { type: 'text/plain' }), 'two.txt')
  const two = await w.upload(alice, form)
  t.equal(two.status, 400, two.text)
  t.match(two.body, { code: 'invalid_request' })
  const none = new FormData()
  none.append('note', 'no file here')
  t.match((await w.upload(alice, none)).body, { code: 'invalid_request' })
  const broken = await w.upload(alice, Buffer.from('--x\r\nno end'), {
    'content-type': 'multipart/form-data; boundary=x',
  })
  t.match(broken.body, { code: 'invalid_request' })
  t.same(await w.onDisk(), before)
})

t.test(
  'what is too large, not what it says, not allowed or too much is refused with a code, and leaves nothing',
  async (t) => {
    const w = await filesWorld(t, {
      env: {
        TIDINGS_FILE_MAX_BYTES: '300000',
        TIDINGS_FILE_TYPES: 'image/*,text/plain',
        TIDINGS_FILE_QUOTA_BYTES: '500000',
      },
    })
    const alice = await w.user()
    const refused: [Buffer | FormData, Record<string, string>, number, string][] = [
      [png(400_000), { 'content-type': 'image/png' }, 413, 'file_too_large'],
      [Buffer.from('%PDF-1.7 not an image'), { 'content-type': 'image/png' }, 415, 'media_type_mismatch'],
      [Buffer.from('plain words'), { 'content-type': 'image/png' }, 415, 'media_type_mismatch'],
      [Buffer.from('%PDF-1.7 a document'), { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
      [Buffer.alloc(0), { 'content-type': 'text/plain' }, 400, 'invalid_request'],
      [Buffer.from('x'), { 'content-type': 'text/plain', 'content-encoding': 'gzip' }, 415, 'unsupported_media_type'],
    ]
    const large = new FormData()
    large.append('file', new Blob([new Uint8Array(png(400_000))], { type: 'image/png' }), 'large.png')
    refused.push([large, {}, 413, 'file_too_large'])
    for (const [bytes, headers, status, code] of refused) {
      const reply = await w.upload(alice, bytes, headers)
      t.match({ status: reply.status, code: reply.body.code }, { status, code }, `${code} ${reply.text}`)
    }
    t.same(await w.onDisk(), [])
    // Without a length nobody knows before it is too much.
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const call = request(`${w.apis[0]}/api/v1/files`, {
        method: 'POST',
        headers: { authorization: `Bearer ${alice.token}`, 'content-type': 'image/png' },
      })
      call.on('response', (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      call.on('error', reject)
      call.end(png(400_000))
      call.flushHeaders()
    })
    t.equal(status, 413)
    t.same(await w.onDisk(), [], 'nothing is left')
    t.equal((await w.upload(alice, png(290_000), { 'content-type': 'image/png' })).status, 201)
    const full = await w.upload(alice, png(290_000), { 'content-type': 'image/png' })
    t.match(full.body, { code: 'file_quota_exceeded', status: 403, quotaBytes: 500_000 })
    t.equal(
      (await w.upload(alice, png(100_000), { 'content-type': 'image/png' })).status,
      201,
      'what was refused counts no more',
    )
    t.equal((await w.http('POST', 'files', { body: '{}' })).status, 401)
  },
)

t.test('an upload that is cut leaves neither bytes nor a row', async (t) => {
  const w = await filesWorld(t)
  const alice = await w.user()
  const call = request(`${w.apis[0]}/api/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${alice.token}`, 'content-type': 'image/png', 'content-length': '1000000' },
  })
  call.on('error', () => undefined)
  call.write(png(500_000))
  await until('bytes arrive', async () => (await w.onDisk()).length === 1)
  t.match(await w.onDisk(), [/\.part$/])
  call.destroy()
  await until('they are gone', async () => (await w.onDisk()).length === 0)
  const rows = () => w.store.use((db) => db.select<{ id: string }>('SELECT id FROM files'))
  await until('the row, too', async () => (await rows()).length === 0)
})

t.test('a message shows only what its sender may read, as it is', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob, eve, zoe] = [await w.user(), await w.user(), await w.user(), await w.user()]
  const file = await w.file(alice)
  const forged = await sendImage(w, eve, { user: zoe.name }, shown(file))
  t.match({ status: forged.status, code: forged.body.code }, { status: 404, code: 'file_not_found' }, 'a foreign file')
  t.equal((await w.read(zoe, file.url)).status, 404)
  t.equal((await w.read(eve, file.url)).status, 404)
  const missing = await sendImage(w, alice, { user: bob.name }, shown(file, { url: `/api/v1/files/${'x'.repeat(22)}` }))
  t.equal(missing.body.code, 'file_not_found')
  for (const [over, pointer] of [
    [{ size: 1 }, '/content/size'],
    [{ mediaType: 'image/jpeg' }, '/content/mediaType'],
    [{ url: 'javascript:alert(1)' }, '/content/url'],
    [{ name: 'a/b' }, '/content/name'],
  ] as const) {
    const reply = await sendImage(w, alice, { user: bob.name }, shown(file, over))
    t.match({ status: reply.status, ...reply.body }, { status: 400, code: 'invalid_content', errors: [{ pointer }] })
  }
  const batch = await w.http<{ results: unknown[] }>('POST', 'messages/batch', {
    token: alice.token,
    body: {
      messages: [
        { to: { user: bob.name }, type: 'file', content: {} },
        { to: { user: bob.name }, type: 'image', content: shown(file) },
        { to: { user: bob.name }, type: 'file', content: shown(file, { url: 'https://example.com/cat.png' }) },
      ],
    },
  })
  t.match(batch.body.results, [{ code: 'invalid_content' }, { seq: 1 }, { seq: 2 }])
  t.equal((await w.read(bob, file.url)).status, 200)

  // Whoever has it may pass it on; over a socket, too.
  const bobs = await bob.connect()
  const content = { ...shown(file), thumbnail: { url: file.url, width: 3, height: 2 } }
  bobs.send({ op: 'send', to: { user: zoe.name }, type: 'image', content, clientId: 'on' })
  await bobs.next('sent')
  t.equal((await w.read(zoe, file.url)).status, 200)
  bobs.send({ op: 'send', to: { user: zoe.name }, type: 'image', content: { url: 7 }, clientId: 'bad' })
  t.match(await bobs.next('error'), { code: 'invalid_content', clientId: 'bad' })
  t.equal((await w.read(eve, file.url)).status, 404)
})

t.test('in a room: members read, whoever left does not, whoever came later reads what the room shows', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob, carol, dave] = [await w.user(), await w.user(), await w.user(), await w.user()]
  const room = async (history: string): Promise<string> => {
    const body = { name: 'a room', history, members: [bob.name, dave.name] }
    return (await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body })).body.id
  }
  const put = (id: string, user: TestUser) =>
    w.http('PUT', `rooms/${id}/members/${user.name}`, { token: alice.token, body: {} })
  const [joined, all] = [await room('joined'), await room('all')]
  const before = await w.file(alice)
  const open = await w.file(alice)
  t.equal((await sendImage(w, alice, { room: joined }, shown(before))).status, 202)
  t.equal((await sendImage(w, alice, { room: all }, shown(open))).status, 202)
  t.equal((await w.read(bob, before.url)).status, 200)
  t.equal((await w.read(carol, before.url)).status, 404, 'not in the room')
  for (const id of [joined, all]) t.ok((await put(id, carol)).status < 300)
  t.equal((await w.read(carol, before.url)).status, 404, 'what was before the joining')
  t.equal((await w.read(carol, open.url)).status, 200, 'where the room shows it')
  const after = await w.file(bob)
  t.equal((await sendImage(w, bob, { room: joined }, shown(after))).status, 202)
  t.equal((await w.read(carol, after.url)).status, 200)
  await w.http('POST', `rooms/${joined}/leave`, { token: dave.token })
  for (const { url } of [before, after]) t.equal((await w.read(dave, url)).status, 404, 'left')
  const onwards = await sendImage(w, dave, { user: carol.name }, shown(before))
  t.equal(onwards.body.code, 'file_not_found', 'nor passes it on')
  const outsider = await w.file(carol)
  await w.http('POST', `rooms/${joined}/leave`, { token: carol.token })
  const refused = await sendImage(w, carol, { room: joined }, shown(outsider))
  t.ok(refused.status >= 400 && refused.status < 500)
  t.equal((await w.read(bob, outsider.url)).status, 404, 'a send that was refused shows nothing')
})

t.test('an address with a ticket works without a header, as long as its user may read', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const html = await w.file(alice, Buffer.from('<script>alert(1)</script>'), 'text/html')
  const body = { name: 'a room', members: [bob.name] }
  const { id: room } = (await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body })).body
  await w.http('POST', 'messages', { token: alice.token, body: { to: { room }, type: 'file', content: shown(html) } })
  const ask = (user: TestUser) =>
    w.http<{ url: string; expiresIn: number }>('POST', `files/${html.id}/ticket`, { token: user.token })
  t.equal((await ask(eve)).status, 404)
  const { url, expiresIn } = (await ask(bob)).body
  t.ok(expiresIn > 0 && expiresIn <= 300)
  const reply = await w.read(undefined, url)
  t.equal(reply.status, 200)
  t.match(reply.headers.get('content-disposition'), /^attachment/, 'what could run is for saving')
  t.equal(
    (
      await w.read(
        undefined,
        url.replace(/\.(.)/, (_, first: string) => `.${first === 'A' ? 'B' : 'A'}`),
      )
    ).status,
    401,
  )
  const other = await w.file(alice)
  t.equal((await w.read(undefined, `${other.url}?${url.split('?')[1]}`)).status, 401, 'for another file')
  t.equal((await w.http('GET', 'me', { token: url.split('ticket=')[1]! })).status, 401, 'no token')
  await w.http('POST', `rooms/${room}/leave`, { token: bob.token })
  t.equal((await w.read(undefined, url)).status, 404, 'not any more')
})

t.test(
  'what nobody needs goes: what nothing refers to, what its owner deletes, and what was theirs who are gone',
  async (t) => {
    const w = await filesWorld(t, { env: { TIDINGS_FILE_ORPHAN_S: '1' } })
    const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
    const kept = await w.file(alice)
    t.equal((await sendImage(w, alice, { user: bob.name }, shown(kept))).status, 202)
    const ofCarol = await w.file(carol)
    t.equal((await sendImage(w, carol, { user: bob.name }, shown(ofCarol))).status, 202)
    const mine = await w.file(alice)
    t.equal((await sendImage(w, alice, { user: bob.name }, shown(mine))).status, 202)
    const orphan = await w.file(alice)
    await until('the orphan is gone', async () => (await w.read(alice, orphan.url)).status === 404)
    t.equal((await w.http('DELETE', `files/${mine.id}`, { token: bob.token })).status, 404, 'whose is it?')
    t.equal((await w.http('DELETE', `files/${mine.id}`, { token: alice.token })).status, 204)
    t.equal((await w.read(bob, mine.url)).status, 404, 'at once')
    t.equal((await w.read(bob, ofCarol.url)).status, 200)
    await w.http('DELETE', 'me', { token: carol.token })
    await until('those of the deleted account', async () => (await w.read(bob, ofCarol.url)).status === 404)
    await until('only what is needed lies there', async () => (await w.onDisk()).length === 1)
    t.same(await w.onDisk(), [kept.id])
    const rows = await w.store.use((db) => db.select<{ id: string }>('SELECT id FROM files'))
    t.same(
      rows.map(({ id }) => id),
      [kept.id],
    )
    t.equal((await w.read(bob, kept.url)).status, 200)
  },
)

t.test('what an edit shows can be read at once, also when nothing of it is stored yet', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const [first, second] = [await w.file(alice), await w.file(alice, png(100))]
  // MySQL gets nothing as long as no worker runs.
  await w.stop('task')
  const sent = await sendImage(w, alice, { user: bob.name }, shown(first))
  const { id } = sent.body as unknown as { id: string }
  const edited = await w.http('PATCH', `messages/${id}`, { token: alice.token, body: { content: shown(second) } })
  t.equal(edited.status, 202, edited.text)
  const read = async () => [(await w.read(bob, first.url)).status, (await w.read(bob, second.url)).status]
  t.same(await read(), [404, 200])
  await w.start('task')
  const state = () => w.http<{ state: { stored: boolean } }>('GET', `messages/${id}`, { token: bob.token })
  await until('it is stored', async () => (await state()).body.state?.stored)
  t.same(await read(), [404, 200])
})

t.test('what an edit has replaced goes as what nothing refers to, and what it shows stays', async (t) => {
  const w = await filesWorld(t, { env: { TIDINGS_FILE_ORPHAN_S: '2' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const first = await w.file(alice)
  const sent = await sendImage(w, alice, { user: bob.name }, shown(first))
  const { id } = sent.body as unknown as { id: string }
  const settled = () => w.store.use((db) => db.select('SELECT file FROM file_uses WHERE unproven_since IS NULL'))
  await until('the first is settled', async () => (await settled()).length === 1)
  const second = await w.file(alice, png(100))
  const edited = await w.http('PATCH', `messages/${id}`, { token: alice.token, body: { content: shown(second) } })
  t.equal(edited.status, 202, edited.text)
  await until('the first is gone', async () => (await w.read(alice, first.url)).status === 404)
  await until('its bytes, too', async () => (await w.onDisk()).length === 1)
  t.same(await w.onDisk(), [second.id])
  t.equal((await w.read(bob, second.url)).status, 200)
})

t.test('what an edit shows can be read, and what was replaced or recalled cannot', async (t) => {
  const w = await filesWorld(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const [first, second] = [await w.file(alice), await w.file(alice, png(100))]
  const sent = await sendImage(w, alice, { user: bob.name }, shown(first))
  const { id } = sent.body as unknown as { id: string }
  const change = (method: string, body?: object) =>
    w.http<{ code?: string }>(method, `messages/${id}`, { token: alice.token, ...(body && { body }) })
  const isStored = () => w.http<{ state: { stored: boolean } }>('GET', `messages/${id}`, { token: bob.token })
  await until('it is stored', async () => (await isStored()).body.state.stored)
  const bobs = await w.file(bob, png(50))
  t.match(await change('PATCH', { content: { text: 'no image' } }), { status: 400, body: { code: 'invalid_content' } })
  t.match(await change('PATCH', { content: shown(bobs) }), { status: 404, body: { code: 'file_not_found' } })
  t.equal((await w.read(bob, first.url)).status, 200)
  t.equal((await change('PATCH', { content: shown(second) })).status, 202)
  const read = async () => [(await w.read(bob, first.url)).status, (await w.read(bob, second.url)).status]
  t.same(await read(), [404, 200])
  t.equal((await change('DELETE')).status, 202)
  t.same(await read(), [404, 404])
  await until('nothing refers to them', async () => {
    const rows = await w.store.use((db) => db.select('SELECT file FROM file_uses WHERE message = ?', [id]))
    return rows.length === 0
  })
  t.same(await read(), [404, 404])
  t.equal((await w.read(alice, second.url)).status, 200, 'its owner has it')
})
