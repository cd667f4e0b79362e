#!lua
-- Appends accepted items to one partition: numbers each, writes it to its conversation's log and to the partition's stream.
-- The shebang (no allow-oom flag) makes Redis refuse the whole call before its first write when memory is full.
--
-- KEYS  1 the partition's stream   2 its `recent` index   3 its generation   4 the conversations that leapt in it
--       then five per item: seq, skip, log, read, once
-- ARGV  nine per item: id, conversation, from, type, counts (1: raises n, 0: not), content, clientId, sentAt, trace
--       then one per item: digest of the body, '' when the sender gave no clientId
--       last the number of the latest generation that the caller has appended under: an older one is a server that was replaced
-- Returns `G` alone when the partition's generation does not name this server, or is an older one: nothing was done, the generation must be opened.
-- Else the generation's number, then one string per item:
--       `A <seq> <stream id>`                         appended
--       `D <id> <seq> <sentAt> <stream id>`           the same was appended before: the answer first given
--       `C`                                           the once-key holds another body
--       `L`                                           the head may be behind what was given out: the conversation must leap first
--       `E <message>`                                 Redis refused; nothing of this item was written
-- Per item the order is: once-key, head, recent, log, stream, then the head. The log's ids are `<seq>-0`, so Redis itself refuses a
-- seq that was given out before; a failure half-way never leaves a seq that two entries could get.

local FIRST_KEYS, ITEM_KEYS, ITEM_ARGS, ONCE_SECONDS = 4, 5, 9, 86400
local stream, recent, leapt = KEYS[1], KEYS[2], KEYS[4]
local items = (#KEYS - FIRST_KEYS) / ITEM_KEYS

-- A server that was restarted or promoted has another replication id, and may have forgotten a tail.
local generation, server = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+) (%x+)$')
if not generation or tonumber(generation) < tonumber(ARGV[#ARGV]) or not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. server, 1, true) then
  return { 'G' }
end
local lostData = generation ~= '1'

local clock = redis.call('TIME')
local now = clock[1] .. string.format('%03d', math.floor(clock[2] / 1000))
local answers = { generation }

local function failure(reply)
  return type(reply) == 'table' and reply.err
end

local function append(item)
  local k = FIRST_KEYS + (item - 1) * ITEM_KEYS
  local a = (item - 1) * ITEM_ARGS
  local seqKey, skipKey, logKey, readKey, onceKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5]
  local digest = ARGV[items * ITEM_ARGS + item]

  if digest ~= '' then
    local kept = redis.pcall('GET', onceKey)
    if failure(kept) then return 'E ' .. kept.err end
    if kept then
      local known, answer = string.match(kept, '^(%S+) (.*)$')
      if known ~= digest then return 'C' end
      -- Written again as it is: newer Redis' WAIT counts only what its connection wrote, and the first call was perhaps another's.
      redis.call('SET', onceKey, kept, 'KEEPTTL')
      return 'D ' .. answer
    end
  end

  local conversation, from, sentAt = ARGV[a + 2], ARGV[a + 3], ARGV[a + 8]
  if lostData then
    local safe = redis.pcall('SISMEMBER', leapt, conversation)
    if failure(safe) then return 'E ' .. safe.err end
    if safe == 0 then return 'L' end
  end
  local head = redis.pcall('GET', seqKey)
  if failure(head) then return 'E ' .. head.err end
  if not head and redis.call('EXISTS', logKey) == 1 then return 'L' end
  local skipped = redis.pcall('GET', skipKey)
  if failure(skipped) then return 'E ' .. skipped.err end
  local number = tonumber(head or '0')
  local skips = tonumber(skipped or '0')
  if not number or not skips then return 'E ERR the head of the conversation is not a number' end
  local seq = string.format('%.0f', number + 1)
  local counts = ARGV[a + 5] == '1'
  if not counts then skips = skips + 1 end
  local n = string.format('%.0f', number + 1 - skips)

  local fresh = redis.pcall('ZADD', recent, now, conversation)
  if failure(fresh) then return 'E ' .. fresh.err end

  local function write(key, id)
    return redis.pcall('XADD', key, id, 'id', ARGV[a + 1], 'conversation', conversation, 'seq', seq, 'n', n, 'from', from,
      'type', ARGV[a + 4], 'content', ARGV[a + 6], 'clientId', ARGV[a + 7], 'sentAt', sentAt, 'trace', ARGV[a + 9])
  end
  local logged = write(logKey, seq .. '-0')
  if failure(logged) then return 'E ' .. logged.err end
  local streamId = write(stream, '*')
  if failure(streamId) then
    -- Take the log entry back, and the log's last id too, so that this seq is free again.
    if number == 0 then
      redis.call('DEL', logKey)
    else
      redis.call('XDEL', logKey, seq .. '-0')
      redis.call('XSETID', logKey, string.format('%.0f-0', number))
    end
    return 'E ' .. streamId.err
  end
  redis.call('SET', seqKey, seq)
  if not counts then redis.call('SET', skipKey, string.format('%.0f', skips)) end
  -- An idle log has a time to live; this conversation is not idle any more.
  if fresh == 1 then redis.call('PERSIST', logKey) end
  -- One's own send moves one's read position. The entry stands whatever this key holds.
  redis.pcall('HSET', readKey, from, seq .. ':' .. n)
  if digest ~= '' then
    redis.call('SET', onceKey, digest .. ' ' .. ARGV[a + 1] .. ' ' .. seq .. ' ' .. sentAt .. ' ' .. streamId, 'EX', ONCE_SECONDS)
  end
  return 'A ' .. seq .. ' ' .. streamId
end

for item = 1, items do
  answers[item + 1] = append(item)
end
return answers
