/** Answers as JSON by their schemas, each made when it is first needed: all of them are two thirds of a second of every start. */
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance, FastifySerializerCompiler } from 'fastify'

const buildFactory = SerializerSelector()

/** @param app where the schemas are that others refer to */
export const serializerCompiler =
  (app: Pick<FastifyInstance, 'getSchemas'>): FastifySerializerCompiler<unknown> =>
  (route) => {
    let serialize: ((data: unknown) => string) | undefined
    return (data) => {
      serialize ??= buildFactory(app.getSchemas(), {})({ ...route, httpStatus: route.httpStatus ?? '' }) as (
        data: unknown,
      ) => string
      return serialize(data)
    }
  }
