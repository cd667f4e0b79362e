#!lua flags=allow-oom
-- Tells the edges which sessions are revoked, and forgets those whose access tokens have run out. Also when memory is full: nobody
-- stays signed in because Redis is.
--
-- The score is the time of Redis: the edges read on from the newest score, so by the clock of a logic process that is ahead, what the
-- others tell would not be read until they have caught up.
--
-- KEYS  1 revoked sessions by the time when it was told
-- ARGV  1 for how long they are kept, in ms   2.. session ids

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now), ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[1])))
return #ARGV - 1
