/** A world for tests of files: real ones, uploaded and read as people do. */
import { readdir } from 'node:fs/promises'
import { deflateSync } from 'node:zlib'
import type { Test } from 'tap'
import { type Reply, type TestUser, type World, type WorldOptions, world } from '../src/index.js'

export interface Stored {
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
export function png(more = 0): Buffer {
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

export interface FilesWorld extends World {
  upload(as: TestUser, bytes: Buffer | FormData, headers?: Record<string, string>, path?: string): Promise<Reply>
  /** A file of somebody, of the type that it is said to be. */
  file(as: TestUser, bytes?: Buffer, type?: string): Promise<Stored>
  read(as: TestUser | undefined, path: string, headers?: Record<string, string>, method?: string): Promise<Response>
  /** The names of all files on the disk. */
  onDisk(): Promise<string[]>
}

export async function filesWorld(t: Test, options: WorldOptions = {}): Promise<FilesWorld> {
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

export const shown = ({ url, size, mediaType, name }: Stored, over: object = {}) => ({
  url,
  size,
  mediaType,
  name,
  ...over,
})
export const sendImage = (w: World, from: TestUser, to: object, content: object, over: object = {}) =>
  w.http<Record<string, never> & { code?: string; seq: number }>('POST', 'messages', {
    token: from.token,
    body: { to, type: 'image', content, ...over },
  })
