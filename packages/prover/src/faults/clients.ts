/** Rows 39 to 43 and 47: clients that misbehave, hands in the stream, and everything at once. */
import WebSocket from 'ws'
import { makeMessage } from '../load/message.js'
import { pause, within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

function open(c: FaultContext, user: string, device: string, node = 0): WebSocket {
  const socket = new WebSocket(`${c.cluster.nodes[node]}/api/v1/ws?device=${device}`, {
    headers: { authorization: `Bearer ${c.cluster.token(user)}` },
    perMessageDeflate: false,
  })
  socket.on('error', () => undefined)
  return socket
}

/** Is there a session of this very device, as all nodes and workers know it? */
async function isListed({ cluster }: FaultContext, user: string, device: string): Promise<boolean> {
  const sessions = await cluster.etcd.list(`/${cluster.namespace}/users/${user}/`)
  return sessions.some(({ value }) => (JSON.parse(value) as { device?: string }).device === device)
}

/** Told so, or cut: what a reader that was too slow finds when it reads on. */
const TOO_SLOW: readonly number[] = [4508, 1006]
const REPLACED = 4409

const STORM = 200
/** Of 700 KB each, for a reader that takes nothing. */
const FIRST_BATCHES = 12
const MOST_BATCHES = 60
const isOpen = ({ readyState }: WebSocket): boolean => readyState === WebSocket.OPEN

export const clientFaults: Fault[] = [
  {
    row: '39',
    name: 'a reader stops reading',
    boundMs: 10_000,
    available: true,
    async run(c) {
      const { conv, users, canary } = c.crowd.conversations[0]!
      const socket = open(c, users[1], 'stopped')
      let code = 0
      socket.on('close', (closed) => {
        code = closed
      })
      await new Promise((resolve) => socket.once('open', resolve))
      if (!(await within(() => isListed(c, users[1], 'stopped'), 5_000))) throw new Error('its session is not listed')
      ;(socket as unknown as { _socket: { pause(): void } })._socket.pause()
      const isGone = async (): Promise<boolean> => !(await isListed(c, users[1], 'stopped'))
      // How much the kernel takes on the way, nobody can say.
      for (let i = 0; i < MOST_BATCHES; i++) {
        if (i >= FIRST_BATCHES && (await within(isGone, 300))) break
        const messages = Array.from({ length: 50 }, (_, k) =>
          makeMessage(
            conv,
            users[0],
            users[1],
            `slow-${canary.slice(7)}-${c.chance.between(0, 1e9)}-${i}-${k}`,
            canary,
            14_000,
          ),
        )
        await c.crowd.deliver(messages)
      }
      const gone = await within(isGone, 15_000)
      ;(socket as unknown as { _socket: { resume(): void } })._socket.resume()
      await within(() => code !== 0, 5_000)
      socket.terminate()
      if (gone && TOO_SLOW.includes(code)) c.bit(`its session was ended (${code})`)
    },
  },
  {
    row: '40',
    name: 'a device that flaps, and the same device twice',
    boundMs: 5_000,
    available: true,
    async run(c) {
      const device = c.crowd.devices[0]!
      const { user, name } = device.options
      const closes = device.closes.length
      for (let i = 0; i < 10; i++) {
        const twin = open(c, user, name, i % c.cluster.nodes.length)
        await c.hold(300)
        twin.terminate()
        device.drop()
        await c.hold(200)
      }
      const since = device.closes.slice(closes)
      const replaced = since.filter((code) => code === REPLACED).length
      if (replaced > 0) c.bit(`${since.length} closes, ${replaced} of them ${REPLACED}`)
    },
  },
  {
    row: '42',
    name: 'a node with 200 sockets dies, and all come back',
    boundMs: 60_000,
    available: true,
    async run(c) {
      const users = Array.from({ length: STORM }, () => c.chance.pick(c.crowd.users))
      const sockets = users.map((user, i) => open(c, user, `storm-${i}`))
      const opened = await within(() => sockets.every(isOpen), 20_000)
      if (!opened) throw new Error(`${sockets.filter(isOpen).length} of ${STORM} sockets opened`)
      const [victim] = c.cluster.of('connect')
      await victim!.kill()
      await within(() => sockets.every(({ readyState }) => readyState === WebSocket.CLOSED), 5_000)
      const closed = sockets.filter(({ readyState }) => readyState === WebSocket.CLOSED).length
      if (closed === STORM) c.bit(`${closed} sockets lost their node`)
      const comesBack = (i: number): WebSocket => open(c, users[i]!, `storm-${i}`, 1 % c.cluster.nodes.length)
      const again = sockets.map((_, i) => comesBack(i))
      await c.recovered()
      const back = await within(async () => {
        for (const [i, { readyState }] of again.entries()) if (readyState === WebSocket.CLOSED) again[i] = comesBack(i)
        await pause(500)
        return again.every(isOpen)
      }, this.boundMs)
      for (const socket of again) socket.terminate()
      await victim!.start()
      if (!back) throw new Error(`not all of ${STORM} sockets came back`)
    },
  },
  {
    row: '43',
    name: 'broken entries written into the streams by hand',
    boundMs: 5_000,
    available: true,
    async run(c) {
      const { redis, keys, partitions } = c.cluster
      const { conv } = c.crowd.conversations[0]!
      const mark = `prover-${c.chance.between(0, 1e9)}`
      const broken: string[][] = [
        ['nonsense', 'x', 'clientId', mark],
        ['id', 'six', 'conversation', conv, 'seq', 'ten', 'from', 'nobody', 'content', '{}', 'clientId', mark],
        ['id', '5', 'conversation', 'dm:b:a', 'seq', '1', 'from', 'b', 'content', 'not json', 'clientId', mark],
      ]
      c.poison({ clientId: mark })
      const dead = async (): Promise<number> => {
        const lengths = await Promise.all(
          Array.from({ length: partitions }, (_, p) => redis.xlen(keys.dead(p, 'persist'))),
        )
        return lengths.reduce((sum, length) => sum + length, 0)
      }
      const before = await dead()
      const letters = async (): Promise<number> => (await dead()) - before
      for (const fields of broken) await redis.xadd(keys.messages(keys.partitionOf(conv)), '*', ...fields)
      await within(async () => (await letters()) >= broken.length, 10_000)
      const count = await letters()
      if (count === broken.length) c.bit(`${count} dead letters of ${broken.length} broken entries`)
    },
  },
]
