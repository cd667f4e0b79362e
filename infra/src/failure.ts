/** Something a person has to put right: its message is the one sentence they see, without a stack. */
export class Failure extends Error {
  override readonly name = 'Failure'
  /** What the process exits with. */
  readonly exitCode: number

  constructor(message: string, options: { exitCode?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.exitCode = options.exitCode ?? 1
  }
}

/** The text of whatever was thrown. */
export function reasonOf(thrown: unknown): string {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return reasonOf(thrown.errors[0])
  // fetch says "fetch failed", and why in the cause.
  if (thrown instanceof TypeError && thrown.cause !== undefined) return reasonOf(thrown.cause)
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown)
}

/** The system's code of an error (`ENOENT`, `EACCES`), or nothing. */
export function codeOf(thrown: unknown): string | undefined {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return codeOf(thrown.errors[0])
  const code = (thrown as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
