#!lua
-- Puts a freshly made hash of a room's members in the place of one that is missing, or from before Redis forgot.
--
-- KEYS  1 the room's members   2 the fresh hash   3 the partition's generation
-- ARGV  1 the generation's record as it was when the members were read   2 its number
-- Returns 1 when it is in place, 0 when it is not: somebody else was first, or the generation has changed. The fresh one is gone then.

local about = redis.call('HGET', KEYS[1], '*')
local current = (redis.call('GET', KEYS[3]) or '') == ARGV[1]
if not current or (about and string.match(about, '^%d+') == ARGV[2]) then
  redis.call('DEL', KEYS[2])
  return 0
end
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('PERSIST', KEYS[1])
return 1
