#!lua flags=no-writes
-- Heads that a group must have come to: of conversations that changed well before the oldest entry that it has not settled. Where it has
-- nothing left to settle these are all, for an entry that was passed over leaves no other sign.
--
-- Well before, for an entry's id may be later than its conversation's score: that is the time when the append began, and it may have
-- written many entries.
--
-- KEYS  1 the partition's stream   2 its `recent` index
-- ARGV  1 group
--       2 this server's time, in ms, up to which all was looked at, or '' for never   3 ms since then by the caller's clock   4 overlap, in ms
--       5 the score where the page before ended, or ''   6 least conversations of a page that is not the last
--       7 the heads' key up to the conversation   8 by how much an id may be later than a score, in ms
-- The heads' names are known only here; they carry the same hash tag, so they lie in the same slot.
-- Returns nothing while the group or its stream is not there. Else up to which time all is settled, in ms, the score where this page
-- ends or '' for the last page, then conversation and head in turn.

local stream, recent, group, limit = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[6])

local function msOf(id)
  return tonumber(string.match(id, '^(%d+)'))
end

local pending = redis.pcall('XPENDING', stream, group)
if pending.err then return {} end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local settled, before = now, '+inf'
local oldest
if pending[1] > 0 then oldest = msOf(pending[2]) end
for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local of = {}
  for i = 1, #row, 2 do of[row[i]] = row[i + 1] end
  if of['name'] == group then
    local unread = redis.call('XRANGE', stream, '(' .. of['last-delivered-id'], '+', 'COUNT', 1)
    if unread[1] then oldest = math.min(oldest or math.huge, msOf(unread[1][1])) end
  end
end
if oldest then
  settled = math.min(oldest, now) - tonumber(ARGV[8])
  before = string.format('(%.0f', settled)
end

local from = '-inf'
if ARGV[5] ~= '' then
  from = '(' .. ARGV[5]
elseif ARGV[2] ~= '' then
  -- Scores since then are higher, or, if the clock was set back, at least what it shows now minus the time that has passed.
  from = string.format('%.0f', math.min(tonumber(ARGV[2]), now - tonumber(ARGV[3])) - tonumber(ARGV[4]))
end
local found = redis.call('ZRANGEBYSCORE', recent, from, before, 'WITHSCORES', 'LIMIT', 0, limit)
local ends = ''
if #found == 2 * limit then
  -- All that share the last score, so that the next page can begin behind it.
  ends = found[#found]
  found = redis.call('ZRANGEBYSCORE', recent, from, ends, 'WITHSCORES')
end
local answer = { string.format('%.0f', settled), ends }
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i]
  -- A key of another type by hand: nothing was given out since, and no other conversation suffers.
  local head = redis.pcall('GET', ARGV[7] .. found[i])
  answer[#answer + 1] = type(head) == 'string' and head or '0'
end
return answer
