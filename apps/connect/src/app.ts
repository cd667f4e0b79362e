/** Puts a connect node together, and takes it apart in order. */
import { randomUUID } from 'node:crypto'
import { startEdge, watchLimits } from '@tidings/accept'
import { AppError, Close, MAX_FRAME_BYTES, nodeRpc, rpcToken, serve, startRpcServer } from '@tidings/protocol'
import { createConnectNodes, createLiveDevices, createSessionLister, watchRooms } from '@tidings/registry'
import {
  createClientAddress,
  gauge,
  Lifecycle,
  type Logger,
  type MetricsRegistry,
  stageMetrics,
  startOps,
  type Tracing,
  withBound,
} from '@tidings/service'
import { createEphemeralPublisher, createLogReader, saveSeen, subscribeEphemeral } from '@tidings/stream'
import { createAcks } from './ack.js'
import { createAddressLimit } from './address-limit.js'
import { refuseOrigin, SUBPROTOCOL } from './admission.js'
import { createCatchUp } from './catch-up.js'
import type { ConnectConfig } from './config.js'
import { Connection, type ConnectionDeps } from './connection.js'
import { createDeliver } from './deliver.js'
import { createEphemeral } from './ephemeral.js'
import type { FrameDeps } from './frames.js'
import { startHeartbeat } from './heartbeat.js'
import { createHttp } from './http.js'
import { createLimits } from './limits.js'
import { createLongPoll } from './long-poll.js'
import { createEphemeralMetrics } from './metrics.js'
import { endLate, type OpenDeps, RECHECK_MS } from './open.js'
import { createPollAcks } from './poll-ack.js'
import { createPresence } from './presence.js'
import { createPushService } from './push-service.js'
import { createReads } from './reads.js'
import { createReceipts } from './receipts.js'
import { createRooms } from './rooms.js'
import { createRouted } from './routed.js'
import { createSendLimit } from './send-limit.js'
import type { Session } from './session.js'
import { createSessions } from './sessions.js'
import { createSlots } from './slots.js'
import { loadUws, startUwsTransport } from './socket.js'
import { startWsTransport } from './socket-ws.js'
import { createStoredReceipts } from './stored.js'
import { startSweep } from './sweep.js'
import type { Transport, TransportOptions } from './transport.js'
import { createTyping } from './typing.js'
import { createWatch } from './watch.js'

export const WS_PATH = '/api/v1/ws'
export const VERSION = '0.1.0'
const MAX_BUFFERED_BYTES = 256 * 1024
/** A socket shows its token once, and there are many; a long-poll shows it each time. */
const MAX_KEPT_TOKENS = 1_000
const CATCH_UPS_AT_ONCE = 64
/** Catch-ups that wait for their turn before new sessions are sent away. */
const CATCH_UPS_IN_LINE = 2_000
/** Sessions that are being opened; those beyond would wait for longer than their clients do. */
const OPENINGS_AT_ONCE = 1_000
/** Clients of a draining node come back spread over this time. */
const RECONNECT_SPREAD_MS = 5_000
/** What a drain waits for at most: to be unlisted, which the end of the lease does too; and for sends that wait, which under load never end. */
const WITHDRAW_BOUND_MS = 500
const IDLE_BOUND_MS = 1_000
/** Both, the last acks, which have a second of their own, and some. */
const DRAIN_BOUND_MS = 3_000

export interface ConnectApp {
  url: string
  port: number
  opsPort: number
  transport: Transport['name']
  stop(): Promise<void>
}

/** Starts a connect node. Throws, with nothing left running, when something it needs does not answer. */
export async function startConnect(
  config: ConnectConfig,
  env: { log: Logger; metrics: MetricsRegistry; tracing: Tracing },
): Promise<ConnectApp> {
  const { log, metrics, tracing } = env
  const life = new Lifecycle(log)
  const stopper = new AbortController()
  try {
    const edge = await startEdge(config.edge, env, MAX_KEPT_TOKENS)
    life.add('edge', () => edge.stop())
    const { redis, keys, registry, logic } = edge
    const node = config.edge.instance
    const token = rpcToken(config.edge.jwtSecret)

    const sessions = createSessions()
    const reader = createLogReader(redis, keys)
    const slots = createSlots(CATCH_UPS_AT_ONCE, CATCH_UPS_IN_LINE)
    const catchUp = createCatchUp({
      ...{ reader, logic: logic.client, slots, signal: stopper.signal, log },
      leaveRoom: sessions.leaveRoom,
    })
    const openings = createSlots(OPENINGS_AT_ONCE, 0)
    const acks = createAcks(logic.client, log)
    life.add('acks', () => acks.stop())
    const stored = createStoredReceipts({ redis, keys, logic: logic.client, log })
    life.add('stored receipts', () => stored.stop())
    const nodes = createConnectNodes(token)
    life.add('connect nodes', () => nodes.stop())
    const lister = await createSessionLister({
      ...{ registry, node, log },
      listedLate: (...listed) => void endLate({ node, sessions, nodes, signal: stopper.signal, log }, ...listed),
    })
    life.add('session lister', () => lister.stop())
    const unlisted = (): boolean => lister.behind || registry.lease.over
    const sweep = startSweep({ redis, keys, reader, sessions, catchUp, unlisted, log })
    life.add('sweep', () => sweep.stop())
    // Whatever came while etcd did not list our sessions was pushed to nobody.
    await registry.onLease(async () => sweep.soon(RECHECK_MS))
    const watch = createWatch({ logic: logic.client, live: createLiveDevices(registry), log })
    life.add('watch', () => watch.stop())
    await registry.watchNodes('connect', (listed) => {
      nodes.set(listed)
      watch.nodes(listed)
    })
    edge.revocations.onUsers((users) => {
      for (const user of users) {
        for (const session of [...sessions.of(user)]) session.close(Close.Forbidden, 'the user may not act any more')
      }
    })
    edge.revocations.onRevoked((sessionId) => {
      for (const session of sessions.all()) {
        if (session.identity.sessionId === sessionId) session.close(Close.Kicked, 'logged out')
      }
    })
    const rooms = createRooms({ sessions, catchUp, logic: logic.client, openings, log })
    life.add('rooms', () => rooms.stop())
    const roomWatch = await watchRooms(registry, rooms, log)
    life.add('room watch', () => roomWatch.stop())
    const { dropped } = createEphemeralMetrics(metrics)
    const bus = createEphemeralPublisher({ redis, keys, dropped, log })
    life.add('events', () => bus.stop())
    const receipts = createReceipts({ sessions, dropped })
    life.add('receipts', () => receipts.stop())
    const save = (seen: ReadonlyMap<string, number>): Promise<void> => saveSeen(redis, keys, seen)
    const presence = createPresence({ sessions, publish: bus.publish, save, log })
    life.add('presence', () => presence.stop())
    const listener = createEphemeral({ sessions, receipts, watch, dropped })
    const hearing = await subscribeEphemeral({ redis, keys, listener, log })
    life.add('hearing events', () => hearing.stop())
    const heartbeat = startHeartbeat(sessions, config.heartbeatMs)
    life.add('heartbeat', () => heartbeat.stop())

    const stage = stageMetrics(metrics, 'deliver')
    const routed = createRouted()
    const deliver = createDeliver({ sessions, catchUp, sweep, routed, metrics: stage, tracing })
    const service = createPushService({ deliver, sessions, acks, sweep, routed, metrics: stage })
    const rpc = await startRpcServer({
      ...config.rpc,
      token,
      services: [serve(nodeRpc.NodeDefinition, service)],
      onInternalError: (path, err) => log.error({ err, path }, 'a call failed'),
    })
    life.add('rpc server', () => rpc.stop())

    const limits = createLimits(config)
    const limitWatch = await watchLimits(registry, limits.set, log)
    life.add('limits', () => limitWatch.stop())
    const frameDeps: FrameDeps = {
      acceptor: edge.acceptor,
      tokens: edge.tokens,
      acks,
      catchUp,
      stored,
      typing: createTyping(bus),
      watch,
      reads: createReads(logic.client),
      sends: createSendLimit(redis, keys, limits),
      log,
    }
    const openDeps: OpenDeps = {
      node,
      heartbeatMs: config.heartbeatMs,
      maxFrameBytes: MAX_FRAME_BYTES,
      sessions,
      lister,
      nodes,
      logic: logic.client,
      acks,
      catchUp,
      slots,
      openings,
      presence,
      limits,
      sweep,
      signal: stopper.signal,
      log,
    }

    function onSessionClosed(session: Session, code: number): void {
      sessions.remove(session)
      presence.ended(session.user)
      watch.forget(session)
      if (acks.waiting > 0) void acks.flush()
      log.debug({ session: session.id, code }, 'session closed')
      if (stopper.signal.aborted) return
      lister.unlist(session.id)
    }

    const addressOf = createClientAddress(config.trustProxy)
    const addressLimit = createAddressLimit(limits)
    const connections: ConnectionDeps = {
      edge,
      opening: openDeps,
      frames: frameDeps,
      rateLimits: config.rateLimits,
      countAddress: (request) => addressLimit.count(addressOf(request.address, request.header('x-forwarded-for'))),
      onSessionClosed,
    }
    const transport = await startTransport(config.transport, log, {
      host: config.host,
      port: config.port,
      maxFrameBytes: MAX_FRAME_BYTES,
      maxBufferedBytes: MAX_BUFFERED_BYTES,
      subprotocol: SUBPROTOCOL,
      path: WS_PATH,
      refuse: (request) => refuseOrigin(request, config.origins),
      open: (socket, request) => new Connection(connections, socket, request),
      http: createHttp(
        createLongPoll({
          ...{ edge, opening: openDeps, onSessionClosed, acks, maxBufferedBytes: MAX_BUFFERED_BYTES },
          pollAcks: createPollAcks(config.edge.jwtSecret),
        }),
        config.origins,
      ),
      onError: (err) => log.error({ err }, 'an event of a socket failed'),
    })
    life.add('transport', () => transport.stop())

    gauge(metrics, 'tidings_sessions', 'Live sessions of this node.', () => sessions.size)
    gauge(metrics, 'tidings_watched_users', 'Users whose presence is watched here.', () => watch.size)
    gauge(metrics, 'tidings_acks_waiting', 'Acks that wait to be written.', () => acks.waiting)
    gauge(metrics, 'tidings_stored_waiting', 'Sends whose stored receipt is due.', () => stored.waiting)
    gauge(metrics, 'tidings_openings_running', 'Sessions that are being opened.', () => openings.running)
    gauge(metrics, 'tidings_catch_ups_running', 'Catch-ups that read now.', () => slots.running)
    gauge(metrics, 'tidings_catch_ups_waiting', 'Catch-ups that wait for a slot.', () => slots.waiting)

    await registry.announce('connect', node, { address: rpc.address, version: VERSION, bootId: randomUUID() })

    // Last: ready means that it is listed and sockets are taken.
    const ops = await startOps({
      ...config.ops,
      metrics,
      ready: {
        redis: () => redis.ping(),
        etcd: () => registry.check(),
        logic: () => logic.check(),
        listening: async () => {
          if (stopper.signal.aborted) throw new AppError('unavailable', 'draining')
        },
      },
    })
    life.add('ops', () => ops.stop())

    /**
     * Unlisted first, so that nobody new comes; then the clients are told, and their last acks are written. Whatever does not come to
     * its end in time is passed over: every client is told when to come back, and closed with 1012.
     */
    async function drain(): Promise<void> {
      transport.refuseNew()
      await inTime('the listing was not withdrawn', registry.withdraw(), WITHDRAW_BOUND_MS)
      for (const session of sessions.all()) {
        session.tell({ op: 'reconnect', after: Math.round(Math.random() * RECONNECT_SPREAD_MS) })
        session.flush()
      }
      await inTime('sends still wait', edge.idle(), IDLE_BOUND_MS)
      await acks.flush()
      stopper.abort()
      for (const session of [...sessions.all()]) session.close(Close.Restarting, 'node restarting')
    }
    life.add('drain', drain, DRAIN_BOUND_MS)

    async function inTime(otherwise: string, step: Promise<void>, boundMs: number): Promise<void> {
      try {
        await withBound(step, boundMs)
      } catch (error) {
        log.warn({ err: error instanceof Error ? error.message : error }, otherwise)
      }
    }

    const url = `ws://${config.host}:${transport.port}${WS_PATH}`
    log.info({ url, transport: transport.name, rpc: rpc.address }, 'connect is ready')
    return {
      url,
      port: transport.port,
      opsPort: ops.port,
      transport: transport.name,
      async stop() {
        await life.stop()
      },
    }
  } catch (error) {
    stopper.abort()
    await life.stop()
    throw error
  }
}

async function startTransport(
  wanted: ConnectConfig['transport'],
  log: Logger,
  options: TransportOptions,
): Promise<Transport> {
  if (wanted !== 'ws') {
    const uws = await loadUws()
    if (uws) return await startUwsTransport(uws, options)
    const build = `Node ${process.versions.node} on ${process.platform}-${process.arch}`
    if (wanted === 'uws')
      throw new Error(
        `uWebSockets.js has no native build for ${build}. Set TIDINGS_CONNECT_TRANSPORT=ws, or use Node 20.`,
      )
    log.warn(`uWebSockets.js has no native build for ${build}: using ws, which is slower. Node 20 has one.`)
  }
  return await startWsTransport(options)
}
