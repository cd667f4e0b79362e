#!lua flags=allow-oom
-- Raises a group's fence for a new owner of a partition, before it reads anything. Only to one that is higher than any before: so no
-- two owners ever work under the same fence.
--
-- KEYS  1 the group's fence
-- ARGV  1 the new owner's fence
-- Returns `OK`, or `F <fence>` with the one known, which is as high or higher: then nothing was done.

local known = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) <= known then return 'F ' .. string.format('%.0f', known) end
redis.call('SET', KEYS[1], ARGV[1])
return 'OK'
