#!lua flags=allow-oom
-- Settles entries for one group: the finished ones, and the ones that can never succeed, which go to the dead stream in the same step.
-- Then computes the mark: the stream id below which the group has settled everything. The entries of one call are of one partition, or,
-- on a single server, of several, of which none suffers from what is wrong with another.
--
-- KEYS  per partition: its stream, the group's dead stream, the group's mark, the group's fence
-- ARGV  1 group   2 whether marks are wanted: 1 or 0
--       then per partition: fence of the owner, number of finished entries, number of dead letters, the ids of the finished entries,
--       and per dead letter: id, reason, deliveries, number of its field values, the fields
-- Returns per partition the mark (or `-` where it is not wanted), or `F <fence>` when a newer owner has settled already: then nothing
-- of it was done, or `E <message>` when Redis refused.

local PARTITION_KEYS, IDS_AT_ONCE = 4, 1000
local group, wantsMark = ARGV[1], ARGV[2] == '1'

local function newer(a, b)
  local aMs, aN = string.match(a, '^(%d+)-(%d+)$')
  local bMs, bN = string.match(b, '^(%d+)-(%d+)$')
  if tonumber(aMs) ~= tonumber(bMs) then return tonumber(aMs) > tonumber(bMs) end
  return tonumber(aN) > tonumber(bN)
end

-- The smallest id still pending with any consumer, or the first one that nobody has read.
local function markOf(stream)
  local pending = redis.call('XPENDING', stream, group)
  if pending[1] > 0 then return pending[2] end
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local of = {}
    for i = 1, #row, 2 do of[row[i]] = row[i + 1] end
    if of['name'] == group then
      local ms, n = string.match(of['last-delivered-id'], '^(%d+)-(%d+)$')
      return ms .. '-' .. string.format('%.0f', tonumber(n) + 1)
    end
  end
end

-- The letter whose id is ARGV[at].
local function setAside(stream, deadStream, at)
  local id, reason, deliveries, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  -- Only while it is pending: a letter that another call has set aside is not set aside twice.
  if redis.call('XPENDING', stream, group, id, id, 1)[1] then
    local letter = { 'XADD', deadStream, '*' }
    for i = at + 4, at + 3 + count do letter[#letter + 1] = ARGV[i] end
    letter[#letter + 1] = 'reason'
    letter[#letter + 1] = reason
    letter[#letter + 1] = 'deliveries'
    letter[#letter + 1] = deliveries
    letter[#letter + 1] = 'entry'
    letter[#letter + 1] = id
    -- Before it counts as settled: what the dead stream does not take must not be lost.
    redis.call(unpack(letter))
    redis.call('XACK', stream, group, id)
  end
  return at + 4 + count
end

-- One partition: its keys begin behind KEYS[k], its ids at ARGV[first], its letters at ARGV[first + finished].
local function settle(k, fenceText, first, finished, letters)
  local stream, deadStream, markKey, fenceKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4]
  local fence, known = tonumber(fenceText), tonumber(redis.call('GET', fenceKey) or '0')
  if fence < known then return 'F ' .. string.format('%.0f', known) end
  -- A dead stream of another type, made by hand, is found before anything is settled.
  if letters > 0 then redis.call('XLEN', deadStream) end
  if fence > known then redis.call('SET', fenceKey, fenceText) end

  for from = first, first + finished - 1, IDS_AT_ONCE do
    redis.call('XACK', stream, group, unpack(ARGV, from, math.min(from + IDS_AT_ONCE, first + finished) - 1))
  end
  local at = first + finished
  for _ = 1, letters do at = setAside(stream, deadStream, at) end
  if not wantsMark then return '-' end

  local mark, before = markOf(stream), redis.call('GET', markKey)
  if before and not newer(mark, before) then return before end
  redis.call('SET', markKey, mark)
  return mark
end

local answers, k, at = {}, 0, 3
while k < #KEYS do
  local fence, finished, letters = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local first = at + 3
  local done, answer = pcall(settle, k, fence, first, finished, letters)
  if not done then answer = 'E ' .. (type(answer) == 'table' and answer.err or tostring(answer)) end
  answers[#answers + 1] = answer
  at = first + finished
  for _ = 1, letters do at = at + 4 + tonumber(ARGV[at + 3]) end
  k = k + PARTITION_KEYS
end
return answers
