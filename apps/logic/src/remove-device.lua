#!lua flags=allow-oom
-- Forgets a device of a user, and where it stood.
--
-- KEYS  1 the user's devices   2 the device's cursors
-- ARGV  1 device
-- Returns 1 when it was listed, else 0: then it was gone before.

redis.call('DEL', KEYS[2])
return redis.call('HDEL', KEYS[1], ARGV[1])
