/** `npm run listen -- <user>`: prints every frame that a user's device gets, and acknowledges the messages. */
import { WebSocket } from 'ws'
import { asRecord, dataFolder, secretsOf } from './data.js'
import { Failure, reasonOf } from './failure.js'
import { dataDirSetting } from './settings.js'
import { readState, stillRunning } from './state.js'
import { mintToken } from './tokens.js'

const TOKEN_SECONDS = 24 * 3600

/** Connects to the running instance as a user and prints frames until it is interrupted or the connection ends. */
export async function listen([user = 'bob', device = 'listen']: string[]): Promise<number> {
  const data = dataFolder(dataDirSetting(process.env))
  const state = readState(data)
  if (!state.urls || stillRunning(state.children).length === 0)
    throw new Failure('Nothing runs here: run npm start in another terminal first.')
  const token = mintToken(process.env.TIDINGS_JWT_SECRET || secretsOf(data).jwt, user, TOKEN_SECONDS)
  const address = new URL(state.urls.websocket)
  address.searchParams.set('device', device)
  const socket = new WebSocket(address, ['tidings.v1', `bearer.${token}`])
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => socket.close(1000))
  socket.on('message', (frame) => {
    const text = String(frame)
    console.log(text)
    const { op, message } = asRecord(JSON.parse(text))
    const { conversation, seq } = asRecord(message)
    if (op === 'message') socket.send(JSON.stringify({ op: 'ack', conversation, seq }))
  })
  return new Promise((resolve, reject) => {
    socket.on('error', (error) =>
      reject(new Failure(`${address.origin} cannot be reached: ${reasonOf(error)}`, { cause: error })),
    )
    socket.on('close', (code, reason) => {
      console.error(`closed: ${code} ${String(reason)}`.trim())
      resolve(code === 1000 ? 0 : 1)
    })
  })
}
