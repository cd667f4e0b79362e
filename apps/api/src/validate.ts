/** Input against its schema: nothing is converted, dropped or filled in, save the digits of a number in a query. */
import { AppError } from '@tidings/protocol'
import type { FastifySchemaCompiler } from 'fastify'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { TLocalizedValidationError } from 'typebox/error'

const MOST_TOLD = 10
const LONGEST_POINTER = 200

export interface Fault {
  /** RFC 6901, from the root of the body, or the name of the parameter. */
  pointer: string
  message: string
}

/** A check made once; throws AppError `invalid_request` with the faults in `errors`. */
export function createCheck<T extends TSchema>(schema: T): (value: unknown) => void {
  const validator = Compile(schema)
  return (value) => {
    if (!validator.Check(value)) throw invalid(validator.Errors(value))
  }
}

export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema)
  const numbers = httpPart === 'querystring' ? integersOf(schema) : []
  return (value: unknown) => {
    for (const name of numbers) readInteger(value as Record<string, unknown>, name)
    return validator.Check(value) ? true : { error: invalid(validator.Errors(value)) }
  }
}

function integersOf(schema: TSchema): string[] {
  const { properties } = schema as { properties?: Record<string, { type?: string }> }
  return Object.entries(properties ?? {}).flatMap(([name, { type }]) => (type === 'integer' ? [name] : []))
}

/** What is not exactly an integer that a number can hold stays text, and the check refuses it. */
function readInteger(query: Record<string, unknown>, name: string): void {
  const text = query[name]
  if (typeof text !== 'string' || !/^-?\d{1,16}$/.test(text)) return
  const value = Number(text)
  if (Number.isSafeInteger(value)) query[name] = value
}

function invalid(found: readonly TLocalizedValidationError[]): AppError {
  const errors = found.flatMap(toFaults).slice(0, MOST_TOLD)
  const first = errors[0]
  const detail = first ? `${first.pointer || 'The body'} ${first.message}.` : undefined
  return new AppError('invalid_request', detail, { details: { errors } })
}

function toFaults({ keyword, instancePath, params, message }: TLocalizedValidationError): Fault[] {
  const at = (text: string): Fault[] => [{ pointer: instancePath.slice(0, LONGEST_POINTER), message: text }]
  switch (keyword) {
    case 'required':
      return params.requiredProperties.map((name) => ({ pointer: `${instancePath}/${name}`, message: 'is required' }))
    // What may not be there is told one by one, as not matching the schema `false`, and then once more together.
    case 'boolean':
      return at('is not known here')
    case 'additionalProperties':
      return []
    case 'enum':
      return at(`must be one of ${params.allowedValues.join(', ')}`)
    default:
      return at(message)
  }
}
