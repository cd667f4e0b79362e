/** Request bodies: JSON in UTF-8, and kept as text too, because content goes on as the very characters that came. */
import { isUtf8 } from 'node:buffer'
import { AppError, rawMembers } from '@tidings/protocol'
import type { FastifyRequest } from 'fastify'
import secureJson from 'secure-json-parse'
import type { Api } from './api.js'

/** RFC 8259 has no charset parameter; many clients send this one, and no other encoding is JSON. */
const JSON_UTF8 = /^application\/json\s*(;\s*charset\s*=\s*("?)utf-?8\2\s*)?;?$/i

export const BODY_LIMIT = 64 * 1024
/** 500 messages of 16 KiB of content with their envelopes. */
export const BATCH_BODY_LIMIT = 8.5 * 1024 * 1024

/** 10,000 users of 64 characters, and content. */
export const PUSH_BODY_LIMIT = 768 * 1024

/** Makes JSON the one thing that this server reads, and reads it strictly. */
export function readJsonBodies(app: Api): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    let body: unknown
    try {
      body = readBody(request, bytes)
    } catch (error) {
      return done(error as Error)
    }
    done(null, body)
  })
}

function readBody(request: FastifyRequest, bytes: Buffer): unknown {
  const { headers, routeOptions } = request
  if (headers['content-type'] !== 'application/json' && !JSON_UTF8.test(headers['content-type'] ?? '')) {
    throw new AppError('unsupported_media_type', 'Send application/json in UTF-8.')
  }
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
    throw new AppError('unsupported_media_type', 'Send the body without a Content-Encoding.')
  }
  // Many clients name the type of a body that they do not have.
  if (bytes.length === 0 && routeOptions.schema?.body === undefined) return undefined
  if (!isUtf8(bytes)) throw new AppError('invalid_json', 'The body is not UTF-8.')
  const text = bytes.toString()
  const body = parse(text)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  const cut = routeOptions.config.body
  if (cut === 'batch') request.text = text
  else request.members = cut === 'message' ? rawMembers(text) : strictMembers(text)
  return body
}

const BYTE_ORDER_MARK = 0xfeff

/** @throws AppError `invalid_json`, also for keys that would reach into prototypes */
export function parse(text: string): unknown {
  // The parser would skip it, and what is cut from the text afterwards expects JSON from the first character.
  if (text.charCodeAt(0) === BYTE_ORDER_MARK)
    throw new AppError('invalid_json', 'The body begins with a byte order mark.')
  try {
    return secureJson.parse(text)
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not valid JSON, or has a key such as __proto__.', { cause })
  }
}

/** Where there is no message content, an ill-formed string or a doubled key is a fault of the body. */
function strictMembers(text: string): Map<string, string> {
  try {
    return rawMembers(text)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    throw new AppError('invalid_json', error.message.replace('The content', 'The body'), { cause: error })
  }
}
