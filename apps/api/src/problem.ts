/** Errors as people see them: RFC 9457 problem documents. */
import { AppError, type ErrorCode, errorTable, toAppError } from '@tidings/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RequestLog } from './request-log.js'

export const PROBLEM_TYPE = 'application/problem+json'

export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: ErrorCode
  [extension: string]: unknown
}

/** The part of a problem document that is the same wherever the error is shown. */
export function problemOf({ code, message, details, retryAfter }: AppError): Problem {
  const { http, title } = errorTable[code]
  const wait = mayBeRetried(http) ? { retryAfter: secondsOf(retryAfter) } : {}
  const standard = { type: `urn:tidings:error:${code}`, title, status: http, detail: message, code, ...wait }
  // Twice: standard members come first, and no detail replaces one.
  return { ...standard, ...details, ...standard }
}

const mayBeRetried = (status: number): boolean => status === 429 || status === 503
const secondsOf = (retryAfter: number | undefined): number => Math.max(1, Math.ceil(retryAfter ?? 1))

/** Without the query, which may hold a ticket. */
export const pathOf = (url: string): string => {
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** Answers with a problem. The query of the URL is left out of it: it may hold a ticket. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: AppError): void {
  const problem = problemOf(error)
  if (problem.status === 401)
    reply.header('www-authenticate', problem.code.startsWith('signature_') ? 'Tidings-Signature' : 'Bearer')
  if (mayBeRetried(problem.status)) reply.header('retry-after', String(problem.retryAfter))
  const body = { ...problem, instance: pathOf(request.url), requestId: request.id }
  // As bytes: fastify would add a charset, which this media type does not have.
  reply
    .code(problem.status)
    .header('content-type', PROBLEM_TYPE)
    .send(Buffer.from(JSON.stringify(body)))
}

/** fastify's own errors that have a better code than their status says. */
const FASTIFY_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
  FST_ERR_MAX_PARAM_LENGTH: 'not_found',
}
const STATUS_CODES: Record<number, ErrorCode> = {
  404: 'not_found',
  408: 'request_timeout',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  431: 'headers_too_large',
}
const MESSAGES: Partial<Record<ErrorCode, string>> = {
  unsupported_media_type: 'Send JSON, with the header content-type: application/json.',
  payload_too_large: 'The body is larger than this call takes.',
  not_found: 'There is nothing here. /docs lists all calls.',
  invalid_request: 'The request cannot be understood: look at its URL, its headers and its length.',
}

/** Whatever was thrown, as an AppError: ours as they are, fastify's 4xx by their code, all else `internal`. */
export function fromFastify(thrown: unknown): AppError {
  if (thrown instanceof AppError || !(thrown instanceof Error)) return toAppError(thrown)
  const { code, statusCode = 500 } = thrown as Error & { code?: string; statusCode?: number }
  if (statusCode < 400 || statusCode >= 500) return toAppError(thrown)
  const ours = FASTIFY_CODES[code ?? ''] ?? STATUS_CODES[statusCode] ?? 'invalid_request'
  return new AppError(ours, MESSAGES[ours], { cause: thrown })
}

/** @returns the handler of every error of a request; what is `internal` is logged, once, here */
export function problemHandler(log: RequestLog) {
  return (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const error = fromFastify(thrown)
    log.failed(request, error)
    sendProblem(request, reply, error)
  }
}
