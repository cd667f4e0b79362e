/** The RPC methods of files to functions; no rule is here. */
import type { logicRpc } from '@tidings/protocol'
import type { FileDeps } from './files.js'
import * as files from './files.js'

type Measured = <Request, Response>(
  name: string,
  run: (request: Request) => Promise<Response>,
) => (request: Request) => Promise<Response>

const file = async (found: Promise<logicRpc.StoredFile>) => ({ file: await found })
const ids = async (found: Promise<string[]>) => ({ ids: await found })
const nothing = async (done: Promise<void>) => {
  await done
  return {}
}

/** @param measured counts the calls of a method and how long they take */
export function fileMethods(deps: FileDeps, measured: Measured) {
  return {
    beginFile: measured('beginFile', (request: logicRpc.BeginFileRequest) => nothing(files.beginFile(deps, request))),
    storeFile: measured('storeFile', (request: logicRpc.StoreFileRequest) => file(files.storeFile(deps, request))),
    dropFile: measured('dropFile', (request: logicRpc.DropFileRequest) => nothing(files.dropFile(deps, request))),
    openFile: measured('openFile', (request: logicRpc.OpenFileRequest) => file(files.openFile(deps, request))),
    deleteFile: measured('deleteFile', (request: logicRpc.DeleteFileRequest) =>
      nothing(files.deleteFile(deps, request)),
    ),
    useFiles: measured('useFiles', (request: logicRpc.UseFilesRequest) => nothing(files.useFiles(deps, request))),
    deletedFiles: measured('deletedFiles', (request: logicRpc.DeletedFilesRequest) =>
      ids(files.deletedFiles(deps, request)),
    ),
    forgetFiles: measured('forgetFiles', (request: logicRpc.ForgetFilesRequest) =>
      nothing(files.forgetFiles(deps, request)),
    ),
  }
}
