#!lua flags=allow-oom
-- Tells the edges which sessions, users and permits are revoked, and forgets those whose access tokens have run out. Also when memory is
-- full: nobody stays signed in because Redis is.
--
-- The score is the time of Redis: the edges read on from the newest score, so by the clock of a logic process that is ahead, what the
-- others tell would not be read until they have caught up.
--
-- A session ends once, so what was told of it stays where it is. All else may happen again and is told again: it gets a new score.
--
-- KEYS  1 words by the time when they were told
-- ARGV  1 for how long they are kept, in ms   2.. words: session ids, and others, which have a colon

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 2, #ARGV do
  if string.find(ARGV[i], ':', 1, true) then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[i])
  else
    redis.call('ZADD', KEYS[1], 'NX', string.format('%.0f', now), ARGV[i])
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[1])))
return #ARGV - 1
