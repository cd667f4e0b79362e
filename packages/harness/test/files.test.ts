/** Files as people use them: uploaded, read with ranges, bounded, and gone without a trace when the upload is cut. */
import { request } from 'node:http'
import t from 'tap'
import { until } from '../src/index.js'
import { filesWorld, png, sendImage, shown } from './files-world.js'

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
