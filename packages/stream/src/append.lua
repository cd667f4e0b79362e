#!lua
-- Appends accepted items: numbers each, writes it to its conversation's log and to its partition's stream. The items of one call are
-- of one partition, or, on a single server, of several.
-- The shebang (no allow-oom flag) makes Redis refuse the whole call before its first write when memory is full.
--
-- KEYS  per partition: its stream, its `recent` index, its generation, the conversations that leapt in it;
--         then six per item of it: seq, skip, log, read, once, members
-- ARGV  the number of partitions; then per partition: the number of its items, and the number of the latest generation that the caller
--         has appended under (an older one is a server that was replaced);
--         then eleven per item of it: id, conversation, from, type, counts (1: raises n, 0: not), content, clientId, sentAt, trace, a
--         digest of the body, '' when the sender gave no clientId, and the rule of its members: '' outside of rooms; `check` that the
--         sender is in the room and not muted; or a change, `<version> <history>` and then words `+<user>:<muted until>` for who joins,
--         `~<user>:<muted until>` for who is muted, `-<user>` for who leaves; or `<version> ended`
-- Returns one array per partition: `G` alone when its generation does not name this server, or is an older one: nothing of it was
-- done, the generation must be opened. Else the generation's number, then one string per item:
--       `A <seq> <stream id>`                         appended
--       `D <id> <seq> <sentAt> <stream id>`           the same was appended before: the answer first given
--       `C`                                           the once-key holds another body
--       `L`                                           the head may be behind what was given out: the conversation must leap first
--       `U`                                           who is in the room is not known here (see members.ts): it must be put back first
--       `N`                                           the sender is not in the room
--       `M <until>`                                   the sender is muted
--       `E <message>`                                 Redis refused; nothing of this item was written
-- Per item the order is: once-key, head, log, stream, then the head. The log's ids are `<seq>-0`, so Redis itself refuses a seq that
-- was given out before; a failure half-way never leaves a seq that two entries could get.

local PARTITION_KEYS, ITEM_KEYS, ITEM_ARGS, ONCE_SECONDS = 4, 6, 11, 86400

-- A server that was restarted or promoted has another replication id, and may have forgotten a tail.
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local clock = redis.call('TIME')
local now = clock[1] .. string.format('%03d', math.floor(clock[2] / 1000))

local function failure(reply)
  return type(reply) == 'table' and reply.err
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Which conversations of a partition's items `recent` does not have: their logs may have been given a time to live.
local function findIdle(recent, firstArg, items)
  local names, idle = {}, {}
  for item = 1, items do names[item] = ARGV[firstArg + (item - 1) * ITEM_ARGS + 1] end
  local scores = redis.pcall('ZMSCORE', recent, unpack(names))
  if failure(scores) then return nil, scores.err end
  for item = 1, items do
    if not scores[item] then idle[names[item]] = true end
  end
  return idle
end

-- May this item be appended, as far as the room's members go? @return nil, or the answer
local function checkMembers(membersKey, from, rule, generation)
  local known = redis.pcall('HMGET', membersKey, '*', from)
  if failure(known) then return 'E ' .. known.err end
  if not known[1] or string.match(known[1], '^%d+') ~= generation then return 'U' end
  if rule ~= 'check' then return nil end
  local joined, muted = string.match(known[2] or '', '^(%d+):(%d+)$')
  -- 0: the entry that lets the sender in is still to come.
  if not joined or joined == '0' then return 'N' end
  if tonumber(muted) > tonumber(now) then return 'M ' .. muted end
  return nil
end

-- What an appended entry changes of its room's members. A new member has read what was before.
local function changeMembers(membersKey, readKey, rule, generation, seq, n)
  local version, rest = string.match(rule, '^(%d+) (.*)$')
  if rest == 'ended' then return redis.call('DEL', membersKey) end
  local history = string.match(rest, '^%S+')
  redis.call('HSET', membersKey, '*', generation .. ' ' .. version .. ' ' .. history)
  for sign, user, muted in string.gmatch(rest, ' ([+~-])([^ :]+):?(%d*)') do
    if sign == '-' then
      redis.call('HDEL', membersKey, user)
    elseif sign == '+' then
      redis.call('HSET', membersKey, user, seq .. ':' .. muted)
      redis.pcall('HSET', readKey, user, seq .. ':' .. n)
    else
      local joined = string.match(redis.call('HGET', membersKey, user) or '', '^%d+')
      if joined then redis.call('HSET', membersKey, user, joined .. ':' .. muted) end
    end
  end
end

-- One item: its keys begin behind KEYS[k], its arguments at ARGV[a].
local function append(k, a, stream, leapt, generation, idle, changed)
  local seqKey, skipKey, logKey, readKey, onceKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5]
  local id, conversation, from, sentAt, digest = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 7], ARGV[a + 9]
  local membersKey, rule = KEYS[k + 6], ARGV[a + 10]

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

  if generation ~= '1' then
    local safe = redis.pcall('SISMEMBER', leapt, conversation)
    if failure(safe) then return 'E ' .. safe.err end
    if safe == 0 then return 'L' end
  end
  local head = redis.pcall('GET', seqKey)
  if failure(head) then return 'E ' .. head.err end
  if not head and redis.call('EXISTS', logKey) == 1 then return 'L' end
  if rule ~= '' then
    local refused = checkMembers(membersKey, from, rule, generation)
    if refused then return refused end
  end
  local skipped = redis.pcall('GET', skipKey)
  if failure(skipped) then return 'E ' .. skipped.err end
  local number, skips = tonumber(head or '0'), tonumber(skipped or '0')
  if not number or not skips then return 'E ERR the head of the conversation is not a number' end
  local seq = whole(number + 1)
  local counts = ARGV[a + 4] == '1'
  if not counts then skips = skips + 1 end
  local n = whole(number + 1 - skips)

  local function write(key, entryId)
    return redis.pcall('XADD', key, entryId, 'id', id, 'conversation', conversation, 'seq', seq, 'n', n, 'from', from,
      'type', ARGV[a + 3], 'content', ARGV[a + 5], 'clientId', ARGV[a + 6], 'sentAt', sentAt, 'trace', ARGV[a + 8])
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
      redis.call('XSETID', logKey, whole(number) .. '-0')
    end
    return 'E ' .. streamId.err
  end
  redis.call('SET', seqKey, seq)
  if not counts then redis.call('SET', skipKey, whole(skips)) end
  -- An idle log has a time to live; this conversation is not idle any more.
  if idle[conversation] then
    redis.call('PERSIST', logKey)
    idle[conversation] = nil
  end
  -- One's own send moves one's read position. The entry stands whatever this key holds.
  redis.pcall('HSET', readKey, from, seq .. ':' .. n)
  if rule ~= '' and rule ~= 'check' then changeMembers(membersKey, readKey, rule, generation, seq, n) end
  if digest ~= '' then
    redis.call('SET', onceKey, digest .. ' ' .. id .. ' ' .. seq .. ' ' .. sentAt .. ' ' .. streamId, 'EX', ONCE_SECONDS)
  end
  changed[#changed + 1] = now
  changed[#changed + 1] = conversation
  return 'A ' .. seq .. ' ' .. streamId
end

-- The items of one partition: its keys begin behind KEYS[k], the arguments of its first item at ARGV[a].
local function appendAll(k, a, items, latest)
  local stream, recent, leapt = KEYS[k + 1], KEYS[k + 2], KEYS[k + 4]
  -- A key of another type by hand: whoever opens the generation says so, and no other partition suffers.
  local record = redis.pcall('GET', KEYS[k + 3])
  local generation, opened = string.match(failure(record) and '' or record or '', '^(%d+) (%x+)$')
  if opened ~= server or tonumber(generation) < tonumber(latest) then return { 'G' } end

  local answers, changed = { generation }, {}
  local idle, refused = findIdle(recent, a, items)
  for item = 1, items do
    answers[item + 1] = refused and 'E ' .. refused
      or append(k + PARTITION_KEYS + (item - 1) * ITEM_KEYS, a + (item - 1) * ITEM_ARGS, stream, leapt, generation, idle, changed)
  end
  if #changed > 0 then redis.call('ZADD', recent, unpack(changed)) end
  return answers
end

local answers, partitions = {}, tonumber(ARGV[1])
local k, a = 0, 2 + 2 * partitions
for partition = 1, partitions do
  local items = tonumber(ARGV[2 * partition])
  answers[partition] = appendAll(k, a, items, ARGV[2 * partition + 1])
  k = k + PARTITION_KEYS + items * ITEM_KEYS
  a = a + items * ITEM_ARGS
end
return answers
