#!lua flags=allow-oom
-- Settles entries of one partition for one group: the finished ones, and the ones that can never succeed, which go to the dead
-- stream in the same step. Then computes the mark: the stream id below which the group has settled everything.
--
-- KEYS  1 the partition's stream   2 the group's dead stream   3 the group's mark   4 the group's fence
-- ARGV  1 group   2 fence of the owner   3 whether the mark is wanted: 1 or 0   4 number of finished entries, then their ids
--       then per dead letter: id, reason, deliveries, number of its field values, the fields
-- Returns the mark (or `-` where it is not wanted), or `F <fence>` when a newer owner has settled already: then nothing was done.

local stream, deadStream, markKey, fenceKey = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, fence, finished = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])

local known = tonumber(redis.call('GET', fenceKey) or '0')
if fence < known then return 'F ' .. string.format('%.0f', known) end
if fence > known then redis.call('SET', fenceKey, ARGV[2]) end

for i = 1, finished do
  redis.call('XACK', stream, group, ARGV[4 + i])
end

local at = 5 + finished
while at <= #ARGV do
  local id, reason, deliveries, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  -- XACK tells whether it was still pending: a letter that another call has set aside is not set aside twice.
  if redis.call('XACK', stream, group, id) == 1 then
    local letter = { 'XADD', deadStream, '*' }
    for i = at + 4, at + 3 + count do letter[#letter + 1] = ARGV[i] end
    letter[#letter + 1] = 'reason'
    letter[#letter + 1] = reason
    letter[#letter + 1] = 'deliveries'
    letter[#letter + 1] = deliveries
    letter[#letter + 1] = 'entry'
    letter[#letter + 1] = id
    redis.call(unpack(letter))
  end
  at = at + 4 + count
end

if ARGV[3] ~= '1' then return '-' end

-- The smallest id still pending with any consumer, or the first one that nobody has read.
local mark
local pending = redis.call('XPENDING', stream, group)
if pending[1] > 0 then
  mark = pending[2]
else
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local of = {}
    for i = 1, #row, 2 do of[row[i]] = row[i + 1] end
    if of['name'] == group then
      local ms, n = string.match(of['last-delivered-id'], '^(%d+)-(%d+)$')
      mark = ms .. '-' .. string.format('%.0f', tonumber(n) + 1)
    end
  end
end

local function newer(a, b)
  local aMs, aN = string.match(a, '^(%d+)-(%d+)$')
  local bMs, bN = string.match(b, '^(%d+)-(%d+)$')
  if tonumber(aMs) ~= tonumber(bMs) then return tonumber(aMs) > tonumber(bMs) end
  return tonumber(aN) > tonumber(bN)
end
local before = redis.call('GET', markKey)
if before and not newer(mark, before) then return before end
redis.call('SET', markKey, mark)
return mark
