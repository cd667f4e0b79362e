#!lua flags=allow-oom
-- Takes over what other consumers of the group left pending in one partition, whose owner the caller is, and removes consumers
-- that have nothing pending and have not been heard of for a while.
--
-- KEYS  1 the partition's stream
-- ARGV  1 group   2 the caller's consumer name   3 how many entries at most   4 idle milliseconds after which an empty one is removed
-- Returns the entries as XCLAIM gives them, then the ids whose entries are gone from the stream (settled here; they are lost).

local stream, group, me, limit, idleMs = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local taken, gone = {}, {}

for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local of = {}
  for i = 1, #row, 2 do of[row[i]] = row[i + 1] end
  if of['name'] ~= me then
    if of['pending'] == 0 then
      if of['idle'] > idleMs then redis.call('XGROUP', 'DELCONSUMER', stream, group, of['name']) end
    elseif #taken < limit then
      for _, pending in ipairs(redis.call('XPENDING', stream, group, '-', '+', limit - #taken, of['name'])) do
        local id = pending[1]
        local claimed = redis.call('XCLAIM', stream, group, me, 0, id, 'RETRYCOUNT', pending[4])
        if claimed[1] then
          taken[#taken + 1] = claimed[1]
        else
          -- XCLAIM has dropped it from the pending list: the entry itself was deleted.
          redis.call('XACK', stream, group, id)
          gone[#gone + 1] = id
        end
      end
    end
  end
end
return { taken, gone }
