#!lua flags=allow-oom
-- Makes a group that reads a stream from its beginning. A worker that starts while memory is full must be able to drain, and XGROUP
-- CREATE alone is refused then, even for a group that is there.
--
-- KEYS  1 the stream
-- ARGV  1 the group

local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err and string.sub(made.err, 1, 9) ~= 'BUSYGROUP' then return made end
return redis.status_reply('OK')
