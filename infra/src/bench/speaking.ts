/** The suite ws-send: as `direct`, with the messages sent over WebSockets, which show the senders their own messages too. */
import { setTimeout as sleep } from 'node:timers/promises'
import { mintToken } from '../tokens.js'
import { contentOf } from './checker.js'
import { Crowd, senderName } from './crowd.js'
import type { Run } from './figures.js'
import type { LoadOutcome } from './loads.js'
import { figuresOf, measure } from './measure.js'
import { type Order, TOKEN_LIFE_S } from './order.js'
import { Speaker } from './speaker.js'
import { StreamWatch } from './stored.js'

/** Each sender has one socket, and an equal share of the messages in flight. */
export async function wsSend(order: Order): Promise<LoadOutcome> {
  const { inFlight, senders, warmUpMs, runMs, runs } = order.scale
  const crowd = await Crowd.gather(order)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  const speakers: Speaker[] = []
  try {
    for (let i = 0; i < senders; i++) speakers.push(await open(order, crowd, i))
    const places = Array.from({ length: inFlight }, (_, i) => i % senders)
    const loadFor = (ms: number) => async (): Promise<void> => {
      const end = performance.now() + ms
      await Promise.all(
        places.map(async (sender) => {
          while (performance.now() < end) await speak(crowd, speakers[sender]!, sender)
        }),
      )
    }
    const scene = { order, crowd, watch }
    await measure(scene, loadFor(warmUpMs))
    const measured: Run[] = []
    for (let i = 0; i < runs; i++) measured.push(await measure(scene, loadFor(runMs), inFlight))
    // A doubled message may come late.
    await sleep(200)
    return { loads: [figuresOf(order.suite, measured)], faults: crowd.faults() }
  } finally {
    for (const speaker of speakers) speaker.close()
    watch.close()
    crowd.leave()
  }
}

function open(order: Order, crowd: Crowd, sender: number): Promise<Speaker> {
  const token = mintToken(order.jwtSecret, senderName(order.suite, sender), TOKEN_LIFE_S)
  return Speaker.open(order.websocket, token, {
    message: (message, frame) => crowd.echo(sender, message, frame),
    unexpected: (what) => crowd.checker.fault(`sender ${sender}: ${what}`),
  })
}

async function speak(crowd: Crowd, speaker: Speaker, sender: number): Promise<void> {
  const { index, to } = crowd.announce(sender)
  const answer = await speaker.send(to, contentOf(index), `c-${index}`)
  if (answer.op === 'sent' && answer.duplicate === false) crowd.accepted(index, answer)
  else crowd.checker.fault(`message ${index} was answered with ${JSON.stringify(answer).slice(0, 200)}`)
}
