/**
 * Traces of the journey, by hand and only where asked for: one span per stage, joined by the W3C traceparent (Trace Context,
 * section 3.2) that the stream entry carries. Without an OTLP endpoint nothing is loaded and a span is one shared object.
 */
import type { Stoppable } from './lifecycle.js'

export interface Span {
  /** The traceparent to hand on, or '' when there is none. */
  readonly traceparent: string
  end(error?: unknown): void
}

export interface Tracing extends Stoppable {
  /** False when spans cost and do nothing: callers of a hot path may skip them altogether. */
  readonly enabled: boolean
  /** @param parent traceparent of what caused this, or '' for a new trace */
  start(name: string, parent: string, attributes?: Record<string, string | number>): Span
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** @returns the value when it is a well-formed version-00 traceparent, else '' */
export const traceparentOf = (value: unknown): string =>
  typeof value === 'string' && TRACEPARENT.test(value) ? value : ''

/** No endpoint: what came in is passed on unchanged. */
export const noTracing: Tracing = {
  enabled: false,
  start: (_name, parent) => ({ traceparent: parent, end() {} }),
  async stop() {},
}

/** @param url OTLP/HTTP endpoint of a collector, or undefined for no tracing */
export async function startTracing(options: {
  url: string | undefined
  app: string
  instance: string
}): Promise<Tracing> {
  if (options.url === undefined) return noTracing
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace-base'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ])
  const provider = new sdk.BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': `tidings-${options.app}`,
      'service.instance.id': options.instance,
    }),
    spanProcessors: [
      new sdk.BatchSpanProcessor(new OTLPTraceExporter({ url: options.url }), { scheduledDelayMillis: 500 }),
    ],
  })
  const tracer = provider.getTracer('tidings')
  return {
    enabled: true,
    start(name, parent, attributes) {
      const match = TRACEPARENT.exec(parent)
      const context = match
        ? api.trace.setSpanContext(api.ROOT_CONTEXT, {
            traceId: match[1]!,
            spanId: match[2]!,
            traceFlags: Number.parseInt(match[3]!, 16),
            isRemote: true,
          })
        : api.ROOT_CONTEXT
      const span = tracer.startSpan(name, attributes ? { attributes } : {}, context)
      const { traceId, spanId, traceFlags } = span.spanContext()
      return {
        traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
        end(error) {
          if (error !== undefined) {
            span.setStatus({
              code: api.SpanStatusCode.ERROR,
              message: error instanceof Error ? error.message : String(error),
            })
          }
          span.end()
        },
      }
    },
    stop: () => provider.shutdown(),
  }
}
