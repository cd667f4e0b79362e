/** Uploaded files that a message refers to: written down with its id before it is appended, so that whoever gets it may read them at once. */
import { type FileClaim, fileClaims, showsFile } from '@tidings/protocol'
import type { Draft } from './types.js'

/** A message that refers to uploaded files, and the id that it has, or will have. */
export interface Attachment {
  user: string
  conversation: string
  message: string
  /** For an edit: the seq of its target, which is the message. */
  target: number | undefined
  files: FileClaim[]
}

/** Opens the files to those who will read the message. @throws AppError `file_not_found`, `invalid_content`, `unavailable` */
export type Attach = (attachment: Attachment) => Promise<unknown>

/**
 * @returns undefined for what refers to no uploaded file
 * @throws AppError `invalid_content` for an image or a file that is not described as it must be
 */
export function attachmentOf(draft: Draft, nextId: () => string): Attachment | undefined {
  const { from, conversation, change, edits } = draft
  const type = edits ?? draft.type
  if (!showsFile(type)) return undefined
  // What an edit shows, its target shows.
  const content = edits === undefined ? draft.content : draft.content.slice(Number(change?.detail), -1)
  const files = fileClaims(type, content)
  if (files.length === 0) return undefined
  return { user: from, conversation, message: change?.target.id ?? nextId(), target: change?.target.seq, files }
}
