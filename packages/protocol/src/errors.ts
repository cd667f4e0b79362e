/** The one error type that crosses a boundary of ours, and the one table of what each code becomes outside. */

/** Close codes of the WebSocket protocol (RFC 6455 section 7.4) that Tidings uses. 4xxx are ours. */
export const Close = {
  GoingAway: 1001,
  Internal: 1011,
  TooLarge: 1009,
  Restarting: 1012,
  Overloaded: 1013,
  BadFrames: 4400,
  Unauthenticated: 4401,
  Forbidden: 4403,
  Replaced: 4409,
  Kicked: 4410,
  TooManyFrames: 4429,
  TooSlow: 4508,
} as const

/** gRPC status codes used by the table below (grpc.io, "Status codes and their use in gRPC"). */
export const GrpcStatus = {
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Internal: 13,
  Unavailable: 14,
  Unauthenticated: 16,
} as const

interface CodeRow {
  /** HTTP status of the problem document. */
  http: number
  /** gRPC status between our own processes. */
  grpc: number
  /** Short, unchanging summary: the `title` of the problem document. */
  title: string
  /** May the same request succeed later, unchanged? */
  retryable: boolean
}

const row = (http: number, grpc: number, title: string, retryable = false): CodeRow => ({
  http,
  grpc,
  title,
  retryable,
})

/** Every public error code. A code is never renamed; a new one is added here and nowhere else. */
export const errorTable = {
  invalid_json: row(400, GrpcStatus.InvalidArgument, 'The body is not valid JSON'),
  invalid_request: row(400, GrpcStatus.InvalidArgument, 'The request is not valid'),
  invalid_content: row(400, GrpcStatus.InvalidArgument, 'The content is not valid'),
  beyond_head: row(400, GrpcStatus.OutOfRange, 'The position is beyond the newest entry'),
  bad_frame: row(400, GrpcStatus.InvalidArgument, 'The frame is not valid'),
  unauthenticated: row(401, GrpcStatus.Unauthenticated, 'A valid token is required'),
  invalid_credentials: row(401, GrpcStatus.Unauthenticated, 'The user name or password is wrong'),
  signature_required: row(401, GrpcStatus.Unauthenticated, 'The request must be signed'),
  signature_invalid: row(401, GrpcStatus.Unauthenticated, 'The signature is not valid'),
  signature_expired: row(401, GrpcStatus.Unauthenticated, 'The signature is too old, or from the future'),
  signature_replayed: row(401, GrpcStatus.Unauthenticated, 'The request was sent before'),
  admin_off: row(403, GrpcStatus.PermissionDenied, 'There are no keys for operators'),
  address_not_allowed: row(403, GrpcStatus.PermissionDenied, 'The address may not do this'),
  forbidden: row(403, GrpcStatus.PermissionDenied, 'Not allowed'),
  registration_closed: row(403, GrpcStatus.PermissionDenied, 'Registration is closed'),
  user_disabled: row(403, GrpcStatus.PermissionDenied, 'The user is disabled'),
  origin_not_allowed: row(403, GrpcStatus.PermissionDenied, 'The origin is not allowed'),
  banned: row(403, GrpcStatus.PermissionDenied, 'Banned from the room'),
  blocked: row(403, GrpcStatus.PermissionDenied, 'The receiver does not want messages of the sender'),
  file_quota_exceeded: row(403, GrpcStatus.ResourceExhausted, 'The files of the user take too much room'),
  muted: row(403, GrpcStatus.PermissionDenied, 'Muted in the room'),
  change_window_over: row(403, GrpcStatus.PermissionDenied, 'Too late to change the message'),
  not_found: row(404, GrpcStatus.NotFound, 'Not found'),
  user_not_found: row(404, GrpcStatus.NotFound, 'No such user'),
  conversation_not_found: row(404, GrpcStatus.NotFound, 'No such conversation'),
  message_not_found: row(404, GrpcStatus.NotFound, 'No such message'),
  room_not_found: row(404, GrpcStatus.NotFound, 'No such room'),
  file_not_found: row(404, GrpcStatus.NotFound, 'No such file'),
  session_not_found: row(404, GrpcStatus.NotFound, 'No such session'),
  device_not_found: row(404, GrpcStatus.NotFound, 'No such device'),
  letter_not_found: row(404, GrpcStatus.NotFound, 'No such dead letter'),
  method_not_allowed: row(405, GrpcStatus.InvalidArgument, 'The method is not allowed here'),
  request_timeout: row(408, GrpcStatus.DeadlineExceeded, 'The request took too long to arrive', true),
  username_taken: row(409, GrpcStatus.AlreadyExists, 'The user name is taken'),
  session_replaced: row(409, GrpcStatus.Aborted, 'Another session has taken over'),
  room_full: row(409, GrpcStatus.FailedPrecondition, 'The room is full'),
  limit_reached: row(409, GrpcStatus.FailedPrecondition, 'There are as many as there may be'),
  idempotency_conflict: row(409, GrpcStatus.AlreadyExists, 'The same key was used for another message'),
  message_recalled: row(409, GrpcStatus.FailedPrecondition, 'The message is gone'),
  message_not_changeable: row(409, GrpcStatus.FailedPrecondition, 'The entry cannot be changed'),
  too_many_reactions: row(409, GrpcStatus.ResourceExhausted, 'The message has too many reactions'),
  cursor_too_old: row(410, GrpcStatus.OutOfRange, 'The cursor is below what is kept'),
  payload_too_large: row(413, GrpcStatus.ResourceExhausted, 'The body is too large'),
  content_too_large: row(413, GrpcStatus.ResourceExhausted, 'The content is too large'),
  file_too_large: row(413, GrpcStatus.ResourceExhausted, 'The file is too large'),
  unsupported_media_type: row(415, GrpcStatus.InvalidArgument, 'The media type is not supported'),
  media_type_mismatch: row(415, GrpcStatus.InvalidArgument, 'The file is not what it is said to be'),
  range_not_satisfiable: row(416, GrpcStatus.OutOfRange, 'The range lies outside of the file'),
  word_rejected: row(422, GrpcStatus.FailedPrecondition, 'The message has a word that is not allowed'),
  message_rejected: row(422, GrpcStatus.FailedPrecondition, 'The message was refused by its check'),
  upgrade_required: row(426, GrpcStatus.InvalidArgument, 'A WebSocket upgrade is required'),
  rate_limited: row(429, GrpcStatus.ResourceExhausted, 'Too many requests', true),
  headers_too_large: row(431, GrpcStatus.ResourceExhausted, 'The headers are too large'),
  internal: row(500, GrpcStatus.Internal, 'Something went wrong here'),
  unavailable: row(503, GrpcStatus.Unavailable, 'Not available now', true),
  overloaded: row(503, GrpcStatus.ResourceExhausted, 'Too much at once', true),
  outcome_unknown: row(503, GrpcStatus.Aborted, 'Whether it was accepted is not known', true),
} satisfies Record<string, CodeRow>

export type ErrorCode = keyof typeof errorTable

export interface ErrorOptionsOfOurs {
  cause?: unknown
  /** Facts for the caller, shown beside the code: never a secret, never a message's content. */
  details?: Record<string, unknown>
  /** Seconds until a retry makes sense. */
  retryAfter?: number
}

/** An error with a public code. Anything thrown that is not one counts as `internal`: logged, hidden from the caller. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly details: Record<string, unknown> | undefined
  readonly retryAfter: number | undefined

  /**
   * @param code a row of `errorTable`
   * @param message one sentence for the person who reads it; it says what to do where that is known
   */
  constructor(
    readonly code: ErrorCode,
    message: string = errorTable[code].title,
    options: ErrorOptionsOfOurs = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.details = options.details
    this.retryAfter = options.retryAfter
  }

  get status(): number {
    return errorTable[this.code].http
  }
}

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code)

/** Whatever was thrown, as an AppError: ours stay as they are, all else becomes `internal` with the cause kept for the log. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  return new AppError('internal', errorTable.internal.title, { cause: thrown })
}
