/** Sessions without sockets: what each was shown is kept as objects. */

import { Session } from '../src/session.js'
import { createSessions, type Sessions } from '../src/sessions.js'
import type { SendResult, Socket } from '../src/transport.js'

export class Shown implements Socket {
  closed = false
  frames: Record<string, unknown>[] = []
  /** Bytes that wait for this reader. */
  waiting = 0
  send(frame: string | Uint8Array): SendResult {
    this.frames.push(JSON.parse(frame.toString()))
    return 'sent'
  }
  sendAll(frames: readonly (string | Uint8Array)[]): SendResult {
    for (const frame of frames) this.send(frame)
    return 'sent'
  }
  ping(): void {}
  buffered(): number {
    return this.waiting
  }
  close(): void {
    this.closed = true
  }
}

export interface FakeNode {
  sessions: Sessions
  connect(user: string, options?: { device?: string; rooms?: readonly string[]; opening?: boolean }): Fake
}

export interface Fake {
  session: Session
  socket: Shown
  /** What was shown since the last look. */
  shown(): Record<string, unknown>[]
}

/** @param onClosed beside the session's removal */
export function fakeNode(onClosed: (session: Session) => void = () => {}): FakeNode {
  const sessions = createSessions()
  return {
    sessions,
    connect(user, { device = 'default', rooms = [], opening = false } = {}) {
      const socket = new Shown()
      const identity = { user, sessionId: undefined, expiresAt: 0, scopes: undefined }
      const session = new Session(user, device, identity, socket, (closed) => {
        sessions.remove(closed)
        onClosed(closed)
      })
      sessions.add(session)
      const positions = rooms.map((conversation) => ({ conversation, cursor: 0, head: 0, joined: 1, floor: 0 }))
      session.begin(positions, { resume: false, fromOldest: false })
      sessions.enterRooms(session)
      if (!opening) session.open()
      return {
        session,
        socket,
        shown() {
          session.flush()
          return socket.frames.splice(0)
        },
      }
    },
  }
}
