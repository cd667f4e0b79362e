/** Uploading files. */
import type { IncomingMessage } from 'node:http'
import multipart, { type Multipart } from '@fastify/multipart'
import { AppError, FILES_PATH, type logicRpc, USER_ID } from '@tidings/protocol'
import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import { type Api, type ApiDeps, LIMITS } from '../api.js'
import { tooLarge } from '../files/inspect.js'
import { declaredType } from '../files/media-type.js'
import { fromHeader, safeName } from '../files/name.js'
import { watchPace } from '../files/pace.js'
import { receive, type Upload } from '../files/receive.js'
import { createSlots } from '../files/slots.js'
import { BODY_CODES, matching, problems, SIGNED_IN, TOKEN_CODES, UserId } from '../schemas.js'
import { senderOf } from '../send.js'
import { timeElsewhere } from '../socket-errors.js'
import { validatorCompiler } from '../validate.js'

const strict = { additionalProperties: false } as const

/** Room in a form for what is not the file. */
const FORM_BYTES = 16 * 1024
const FORM_LIMITS = { files: 1, fields: 8, fieldSize: 1_024, parts: 9, headerPairs: 16 }
/** What was refused is read on for so long, so that the answer arrives; then the connection is cut. */
const REFUSED_MS = 5_000

const File = Type.Object(
  {
    id: Type.String(),
    url: Type.String({ description: 'For messages, as it is; and where those read it who have it in a conversation.' }),
    name: Type.String(),
    mediaType: Type.String({ description: 'What its bytes are; what the upload said, where they do not tell.' }),
    size: Type.Integer({ description: 'In bytes.' }),
    sha256: Type.String({ description: 'Of its bytes, in hex.' }),
    width: Type.Optional(Type.Integer({ description: 'Of a PNG, JPEG, GIF or WebP, in pixels.' })),
    height: Type.Optional(Type.Integer()),
    owner: UserId,
    createdAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
  },
  { description: 'An uploaded file.', ...strict },
)
const Stored = Type.Object({ file: File }, { description: 'The file is stored.', ...strict })

const bytes = { schema: Type.Unsafe<unknown>({ type: 'string', format: 'binary' }) }
const form = {
  schema: Type.Unsafe<unknown>({ type: 'object', properties: { file: { type: 'string', format: 'binary' } } }),
}

const fileJson = ({ width, height, ...file }: logicRpc.StoredFile) => ({
  ...file,
  url: `${FILES_PATH}${file.id}`,
  ...(width > 0 && height > 0 && { width, height }),
})

export function uploadRoutes(scope: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  // A scope of its own: here bodies are bytes, whatever they are said to be.
  scope.register(async (app: Api) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', (_request, _payload, done) => done(null))
    await app.register(multipart, { throwFileSizeLimit: false, limits: FORM_LIMITS })
    uploadRoute(app, deps, authenticate)
  })
}

function uploadRoute(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  const { files } = deps
  const { uploadGraceMs: graceMs, uploadBytesPerS: bytesPerS, checkEveryMs } = { ...LIMITS, ...deps.limits }
  const pace = { uploadMs: files.uploadMs, graceMs, bytesPerS, checkEveryMs }
  const slots = createSlots()

  app.post(
    '/files',
    {
      onRequest: authenticate,
      bodyLimit: Number.MAX_SAFE_INTEGER,
      config: { takesLong: true },
      schema: {
        operationId: 'uploadFile',
        tags: ['files'],
        security: SIGNED_IN,
        summary: 'Upload a file',
        description:
          'The bytes as the body, with their type as content-type and the name in x-file-name (percent-encoded) or name; or a form ' +
          '(multipart/form-data) with one file. Then send a message of the type image or file with the url of the answer: whoever gets ' +
          'the message may read the file. A file that no message refers to goes after a day. Repeating the call makes another file.',
        querystring: Type.Object(
          {
            name: Type.Optional(Type.String({ maxLength: 1_024, description: 'What the file is called.' })),
            from: Type.Optional(
              matching(USER_ID, 'For service tokens with the scope send, which must name it: whose file it is.'),
            ),
          },
          strict,
        ),
        body: { content: { 'application/octet-stream': bytes, 'multipart/form-data': form } },
        response: {
          201: Stored,
          ...problems(
            ...([
              ...BODY_CODES,
              ...TOKEN_CODES,
              'file_too_large',
              'media_type_mismatch',
              'file_quota_exceeded',
            ] as const),
          ),
        },
      },
      validatorCompiler: (part) => (part.httpPart === 'body' ? () => true : validatorCompiler(part)),
    },
    async (request, reply) => {
      const owner = senderOf(request.query, request.identity)
      if (request.headers['content-encoding'] !== undefined)
        throw new AppError('unsupported_media_type', 'Send the file without a Content-Encoding.')
      const { raw } = request
      const watched = watchPace(raw, pace)
      timeElsewhere(raw.socket, true)
      try {
        // One that comes too slowly is answered while it still runs: with the cut, it ends and gives its slot back.
        const file = await Promise.race([upload(request, owner), watched.tooSlow])
        return reply
          .code(201)
          .header('location', `${FILES_PATH}${file.id}`)
          .send({ file: fileJson(file) })
      } finally {
        timeElsewhere(raw.socket, false)
        watched.stop()
        cutSoon(raw)
      }
    },
  )

  async function upload(request: FastifyRequest, owner: string): Promise<logicRpc.StoredFile> {
    const free = slots.take(owner)
    try {
      return await (request.isMultipart() ? fromForm : fromBody)(request, owner)
    } finally {
      free()
      readOn(request.raw)
    }
  }

  const { maxBytes, types: allowed } = files
  type Uploading = FastifyRequest<{ Querystring: { name?: string } }>

  /** @param beside bytes that are not the file's @throws AppError `file_too_large` */
  function reserveFor(request: FastifyRequest, beside: number): number {
    const length = request.headers['content-length']
    if (length === undefined) return maxBytes
    if (Number(length) > maxBytes + beside) throw tooLarge(maxBytes)
    return Math.max(1, Math.min(maxBytes, Number(length)))
  }

  function take(request: FastifyRequest, upload: Omit<Upload, 'reserve' | 'expected'>, beside: number, type?: string) {
    const expected = { declared: declaredType(type), maxBytes, allowed }
    return receive({ ...deps, blobs: files.blobs }, { ...upload, expected, reserve: reserveFor(request, beside) })
  }

  function fromBody(request: FastifyRequest, owner: string): Promise<logicRpc.StoredFile> {
    const { headers, raw } = request as Uploading
    const named = (request as Uploading).query.name ?? fromHeader(single(headers['x-file-name']))
    const source = raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
    return take(request, { owner, name: safeName(named), bytes: source }, 0, headers['content-type'])
  }

  async function fromForm(request: FastifyRequest, owner: string): Promise<logicRpc.StoredFile> {
    const parts = request.parts({ limits: { ...FORM_LIMITS, fileSize: maxBytes + 1 } })
    for (let part = await nextOf(parts); part; part = await nextOf(parts)) {
      if (part.type !== 'file') continue
      const { file, filename, mimetype } = part
      const name = safeName((request as Uploading).query.name ?? filename)
      const source = file.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
      return take(request, { owner, name, bytes: source, end: () => endOf(parts) }, FORM_BYTES, mimetype)
    }
    throw new AppError('invalid_request', 'The form has no file.')
  }
}

const single = (header: string | string[] | undefined): string | undefined =>
  Array.isArray(header) ? header[0] : header

type Parts = AsyncIterator<Multipart>

/** @throws AppError `invalid_request` for whatever the reader of forms complains about */
async function nextOf(parts: Parts): Promise<Multipart | undefined> {
  try {
    const { done, value } = await parts.next()
    return done ? undefined : value
  } catch (cause) {
    throw new AppError('invalid_request', 'Send a form with one file, and little else.', { cause })
  }
}

/** Parts after the file: fields are passed over. @throws AppError `invalid_request` for another file, too much, or no end */
async function endOf(parts: Parts): Promise<void> {
  while (await nextOf(parts));
}

/** What is left of a request that was refused half-way: without this the answer would not arrive. */
function readOn(raw: IncomingMessage): void {
  if (raw.complete || raw.destroyed) return
  raw.unpipe()
  raw.resume()
}

/** And not for ever. */
function cutSoon(raw: IncomingMessage): void {
  if (raw.complete || raw.destroyed) return
  const cut = setTimeout(() => raw.destroy(), REFUSED_MS)
  cut.unref()
  raw.once('close', () => clearTimeout(cut))
}
