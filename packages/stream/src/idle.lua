#!lua flags=allow-oom
-- Drops conversations from `recent` that have not changed for an hour, and lets their logs expire, but only when the entry that
-- was their last is below persist's mark: then MySQL holds all of it. An append takes the expiry back (append.lua, PERSIST).
--
-- KEYS  1 the partition's `recent` index   2 persist's mark
-- ARGV  1 idle after ms   2 seconds until an idle log expires   3 how many at most   4 the logs' key up to the conversation
--       5 the same of the folds, which go with the log, and after it: a log must not be read without them
-- The names of both are known only here; they carry the same hash tag, so they lie in the same slot.
-- Returns how many became idle.

local recent, mark = KEYS[1], redis.call('GET', KEYS[2])
if not mark then return 0 end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local markMs = tonumber(string.match(mark, '^(%d+)'))
-- Scores are the clock at the append and stream ids never run behind it, so a score below the mark's time is stored.
local before = math.min(now - tonumber(ARGV[1]), markMs - 1)
local idle = redis.call('ZRANGEBYSCORE', recent, '-inf', string.format('%.0f', before), 'LIMIT', 0, tonumber(ARGV[3]))
for _, conversation in ipairs(idle) do
  redis.call('EXPIRE', ARGV[5] .. conversation, ARGV[2] + 600)
  redis.call('EXPIRE', ARGV[4] .. conversation, ARGV[2])
  redis.call('ZREM', recent, conversation)
end
return #idle
