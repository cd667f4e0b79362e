#!lua flags=allow-oom
-- Lists a device of a user. One that was never seen before starts after what any of the user's devices has acknowledged, in each
-- conversation; that start is written down, so it is decided once.
--
-- KEYS  1 the user's devices   2 the user's conversations   3 the device's cursors
-- ARGV  1 device   2 now, in ms   3 the key of a device's cursors up to the device   4 the conversation of all users
--       5 where the user begins in that one   6 as many devices as a user may have
-- The cursors of the other devices are named only in KEYS 1; they carry the same hash tag, so they lie in the same slot.
-- Returns 1 when the device is new, 0 when it was listed, -1 when there are as many as there may be and nothing was written; then its cursors: conversation and seq in turn; then the conversations.

local devices, conversations, own = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HEXISTS', devices, ARGV[1]) == 0 and redis.call('HLEN', devices) >= tonumber(ARGV[6]) then
  return { -1, {}, {} }
end
local fresh = redis.call('HSETNX', devices, ARGV[1], ARGV[2])
if fresh == 1 then
  -- A device that was removed may have left some: what its last acks brought to MySQL comes back after a loss.
  redis.call('DEL', own)
  local start = {}
  for _, device in ipairs(redis.call('HKEYS', devices)) do
    local cursors = redis.call('HGETALL', ARGV[3] .. device)
    for i = 1, #cursors, 2 do
      local seq = tonumber(cursors[i + 1])
      if seq > (start[cursors[i]] or 0) then start[cursors[i]] = seq end
    end
  end
  if tonumber(ARGV[5]) > (start[ARGV[4]] or 0) then start[ARGV[4]] = tonumber(ARGV[5]) end
  for conversation, seq in pairs(start) do
    redis.call('HSET', own, conversation, string.format('%.0f', seq))
  end
end
return { fresh, redis.call('HGETALL', own), redis.call('SMEMBERS', conversations) }
