/**
 * What a worker pushes to a connect node, packed: all that is small in one JSON text, then the frames one after the other. As a list of
 * protobuf messages every field of every entry would be written and read by itself, which costs more than routing and showing it.
 */

/** One entry for one node. */
export interface PushEntry<Frame = Buffer> {
  partition: number
  /** The fence of the partition's owner. A lower one than seen before is refused. */
  fence: number
  conversation: string
  seq: number
  /** The finished frame, UTF-8: made once, sent as it is. Empty for a void: then only its seq is told. */
  frame: Frame
  /** Who must see it; only their sessions get it. Empty for a room, whose sessions get it, and for everyone. */
  users: string[]
  /** W3C traceparent, or ''. */
  trace: string
  /** An entry of a room that changes its members: whom, stands in the frame. */
  members: boolean
  /** The frame is good for this moment only: whoever cannot be shown it at once reads the entry later, when its time may be over. */
  fleeting: boolean
}

type Head = [
  partition: number,
  fence: number,
  conversation: string,
  seq: number,
  frameBytes: number,
  users: string[],
  trace: string,
  flags: number,
]

const MEMBERS = 1
const FLEETING = 2

export interface PackedPushes {
  /** A JSON array with a head for each entry; '' for none. */
  heads: string
  /** The frames, in the order of their heads. */
  frames: Buffer
}

const flagsOf = (members: boolean, fleeting: boolean): number => (members ? MEMBERS : 0) | (fleeting ? FLEETING : 0)

/** @param entries their frames as text */
export function packPushes(entries: readonly PushEntry<string>[]): PackedPushes {
  if (entries.length === 0) return { heads: '', frames: Buffer.alloc(0) }
  const heads: Head[] = []
  let frames = ''
  for (const { partition, fence, conversation, seq, frame, users, trace, members, fleeting } of entries) {
    heads.push([
      partition,
      fence,
      conversation,
      seq,
      Buffer.byteLength(frame),
      users,
      trace,
      flagsOf(members, fleeting),
    ])
    frames += frame
  }
  return { heads: JSON.stringify(heads), frames: Buffer.from(frames) }
}

/** The entries; their frames are parts of the bytes that were packed. @throws SyntaxError */
export function unpackPushes({ heads, frames }: PackedPushes): PushEntry[] {
  if (heads === '') return []
  let end = 0
  return (JSON.parse(heads) as Head[]).map(([partition, fence, conversation, seq, frameBytes, users, trace, flags]) => {
    const start = end
    end += frameBytes
    return {
      partition,
      fence,
      conversation,
      seq,
      frame: frames.subarray(start, end),
      users,
      trace,
      members: (flags & MEMBERS) !== 0,
      fleeting: (flags & FLEETING) !== 0,
    }
  })
}
