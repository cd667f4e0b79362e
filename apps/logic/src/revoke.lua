#!lua flags=allow-oom
-- Tells the edges which sessions are revoked, and forgets those whose access tokens have run out. Also when memory is full: nobody
-- stays signed in because Redis is.
--
-- KEYS  1 revoked sessions by the time when it was told
-- ARGV  1 now, in ms   2 the time, in ms, up to which they are forgotten   3.. session ids

for i = 3, #ARGV do redis.call('ZADD', KEYS[1], 'NX', ARGV[1], ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
return #ARGV - 2
