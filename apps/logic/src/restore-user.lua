#!lua flags=allow-oom
-- Puts back what MySQL knows of a user after Redis has lost it. Nothing moves backwards: what Redis has learned meanwhile stays.
--
-- KEYS  1 the user's devices   2 the user's conversations
-- ARGV  1 the key of a device's cursors up to the device   2 number of devices   3 number of conversations
--       then per device: name, ms when first seen; then the conversations; then per cursor: device, conversation, seq
-- The keys of the cursors are built from ARGV; they carry the same hash tag, so they lie in the same slot.

local devices, conversations = KEYS[1], KEYS[2]
local at = 4
for _ = 1, tonumber(ARGV[2]) do
  redis.call('HSETNX', devices, ARGV[at], ARGV[at + 1])
  at = at + 2
end
for _ = 1, tonumber(ARGV[3]) do
  redis.call('SADD', conversations, ARGV[at])
  at = at + 1
end
while at <= #ARGV do
  local key, conversation, seq = ARGV[1] .. ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if seq > tonumber(redis.call('HGET', key, conversation) or '0') then
    redis.call('HSET', key, conversation, string.format('%.0f', seq))
  end
  at = at + 3
end
return redis.status_reply('OK')
