/** Uploaded files: begun, stored, read, referred to, deleted. The bytes are with api. */
import { AppError, type logicRpc, requirePossibleParty } from '@tidings/protocol'
import * as rows from '@tidings/store'
import type { LogReader } from '@tidings/stream'
import { limitOf, userOf } from '../input.js'
import { type AccessDeps, requireFile } from './access.js'
import {
  bytesOf,
  fileNameOf,
  fileNotFound,
  fileOf,
  mediaTypeOf,
  messageIdOf,
  newFileOf,
  sha256Of,
  sideOf,
} from './input.js'

/** A message shows at most this many: itself and a thumbnail. */
const MAX_CLAIMS = 2
const DELETED = { default: 100, max: 500 }

export type FileDeps = AccessDeps & {
  /** Bytes that the files of one user may have; 0: no bound. */
  fileQuotaBytes: number
}

const toFile = (row: rows.FileRow): logicRpc.StoredFile => ({
  id: row.id,
  owner: row.owner,
  name: row.name,
  mediaType: row.mediaType,
  size: row.size,
  sha256: row.sha256 ?? '',
  width: row.width ?? 0,
  height: row.height ?? 0,
  createdAt: row.createdAt.getTime(),
})

/** @throws AppError `file_quota_exceeded`, `invalid_request`, `unavailable` */
export async function beginFile(deps: FileDeps, request: logicRpc.BeginFileRequest): Promise<void> {
  const owner = userOf(request.user)
  const file = { id: newFileOf(request.id), owner, name: fileNameOf(request.name), size: bytesOf(request.size) }
  if (await rows.beginFile(deps.store, { ...file, now: new Date() }, deps.fileQuotaBytes)) return
  throw new AppError('file_quota_exceeded', 'Your files take too much room with this one: delete some first.', {
    details: { quotaBytes: deps.fileQuotaBytes },
  })
}

/** @throws AppError `file_not_found`, `invalid_request`, `unavailable` */
export async function storeFile(deps: FileDeps, request: logicRpc.StoreFileRequest): Promise<logicRpc.StoredFile> {
  const as = {
    mediaType: mediaTypeOf(request.mediaType),
    size: bytesOf(request.size),
    sha256: sha256Of(request.sha256),
    width: sideOf(request.width),
    height: sideOf(request.height),
  }
  const row = await rows.storeFile(deps.store, userOf(request.user), fileOf(request.id), as, new Date())
  if (!row) throw fileNotFound()
  return toFile(row)
}

/** @throws AppError `file_not_found`, `invalid_request`, `unavailable` */
export async function dropFile(deps: FileDeps, request: logicRpc.DropFileRequest): Promise<void> {
  await rows.dropFile(deps.store, userOf(request.user), fileOf(request.id))
}

/** @throws AppError `file_not_found`, `invalid_request`, `unavailable` */
export async function openFile(deps: FileDeps, request: logicRpc.OpenFileRequest): Promise<logicRpc.StoredFile> {
  return toFile(await requireFile(deps, userOf(request.user), fileOf(request.id)))
}

/** @throws AppError `file_not_found`, `invalid_request`, `unavailable` */
export async function deleteFile(deps: FileDeps, request: logicRpc.DeleteFileRequest): Promise<void> {
  if (!(await rows.deleteFile(deps.store, userOf(request.user), fileOf(request.id), new Date()))) throw fileNotFound()
}

/**
 * Called before the message is appended, by whoever accepts it: the permit to write there was given. Should the message never come, nobody
 * is shown anything, for whoever reads looks for the message too.
 * @throws AppError `file_not_found`, `invalid_content`, `invalid_request`, `unavailable`
 */
export async function useFiles(deps: FileDeps, request: logicRpc.UseFilesRequest): Promise<void> {
  const user = userOf(request.user)
  const conversation = requirePossibleParty(request.conversation, user).id
  const message = messageIdOf(request.message)
  if (request.files.length > MAX_CLAIMS) throw new AppError('invalid_request', `At most ${MAX_CLAIMS} files.`)
  for (const claim of request.files) compare(claim, await requireFile(deps, user, fileOf(claim.id)))
  const above = await aboveOf(deps.reader, conversation, request.target)
  const files = request.files.map(({ id }) => id)
  const refused = await rows.addUses(deps.store, { files, message, conversation, above, now: new Date() })
  if (!refused) return
  if (refused.reason === 'gone') throw fileNotFound()
  const { pointer } = request.files.find(({ id }) => id === refused.file)!
  throw wrongClaim(`${pointer}/url`, `names a file that ${rows.MAX_USES} messages refer to: upload it again`)
}

/** Where the message is looked for: that of an edit is there already, at or below the head. @throws AppError `unavailable` */
async function aboveOf(reader: LogReader, conversation: string, target: number | undefined): Promise<number> {
  if (target !== undefined) return Math.max(0, target - 1)
  const [head = 0] = await reader.heads([conversation])
  return head
}

/** @throws AppError `invalid_content` */
function compare(claim: logicRpc.FileClaim, file: rows.FileRow): void {
  if (claim.size !== undefined && claim.size !== file.size)
    throw wrongClaim(`${claim.pointer}/size`, `must be ${file.size}, as many bytes as were uploaded`)
  if (claim.mediaType !== '' && claim.mediaType !== file.mediaType)
    throw wrongClaim(`${claim.pointer}/mediaType`, `must be ${file.mediaType}, as the upload was answered`)
}

const wrongClaim = (pointer: string, message: string): AppError =>
  new AppError('invalid_content', `${pointer} ${message}.`, { details: { errors: [{ pointer, message }] } })

/** @throws AppError `invalid_request`, `unavailable` */
export async function deletedFiles(deps: FileDeps, { limit }: logicRpc.DeletedFilesRequest): Promise<string[]> {
  return rows.deletedFiles(deps.store, limitOf(limit, DELETED))
}

/** @throws AppError `invalid_request`, `unavailable` */
export async function forgetFiles(deps: FileDeps, { ids }: logicRpc.ForgetFilesRequest): Promise<void> {
  if (ids.length > DELETED.max) throw new AppError('invalid_request', `At most ${DELETED.max} files in one call.`)
  await rows.forgetFiles(deps.store, ids.map(newFileOf))
}
