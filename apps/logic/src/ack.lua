#!lua flags=allow-oom
-- Moves cursors forward, never back. All keys of one call belong to one partition.
--
-- KEYS  two per cursor: the user's devices, the device's cursors (which end in the device: those of the others are beside them)
-- ARGV  three per cursor: device, conversation, seq
-- Returns per cursor: 2 moved, and no other device of the user has as much; 1 moved; 0 it stood there or further; -1 the device is
-- not listed (nothing was written).

-- Of somebody with more devices than this the others are not looked at: each ack would cost as many reads.
local MOST = 20

local function is_furthest(devices, cursors, device, conversation, seq)
  local size = redis.call('HLEN', devices)
  if size == 1 or size > MOST then return true end
  local prefix = string.sub(cursors, 1, -#device - 1)
  for _, other in ipairs(redis.call('HKEYS', devices)) do
    if other ~= device and seq <= tonumber(redis.call('HGET', prefix .. other, conversation) or '0') then return false end
  end
  return true
end

local answers = {}
for i = 1, #KEYS / 2 do
  local devices, cursors = KEYS[2 * i - 1], KEYS[2 * i]
  local device, conversation, seq = ARGV[3 * i - 2], ARGV[3 * i - 1], tonumber(ARGV[3 * i])
  if redis.call('HEXISTS', devices, device) == 0 then
    answers[i] = -1
  elseif seq > tonumber(redis.call('HGET', cursors, conversation) or '0') then
    redis.call('HSET', cursors, conversation, string.format('%.0f', seq))
    answers[i] = is_furthest(devices, cursors, device, conversation, seq) and 2 or 1
  else
    answers[i] = 0
  end
end
return answers
