#!lua flags=allow-oom
-- Moves cursors forward, never back. All keys of one call belong to one partition.
--
-- KEYS  two per cursor: the user's devices, the device's cursors
-- ARGV  three per cursor: device, conversation, seq
-- Returns per cursor: 1 moved, 0 it stood there or further, -1 the device is not listed (nothing was written).

local answers = {}
for i = 1, #KEYS / 2 do
  local devices, cursors = KEYS[2 * i - 1], KEYS[2 * i]
  local device, conversation, seq = ARGV[3 * i - 2], ARGV[3 * i - 1], tonumber(ARGV[3 * i])
  if redis.call('HEXISTS', devices, device) == 0 then
    answers[i] = -1
  elseif seq > tonumber(redis.call('HGET', cursors, conversation) or '0') then
    redis.call('HSET', cursors, conversation, string.format('%.0f', seq))
    answers[i] = 1
  else
    answers[i] = 0
  end
end
return answers
