#!lua flags=no-writes
-- The conversations of a partition that changed since the last look, whatever happened to this server's clock meanwhile.
--
-- KEYS  1 the partition's `recent` index
-- ARGV  1 this server's time at the last look, in ms, or '' at the first   2 ms since then by the caller's clock   3 overlap, in ms
-- What changed since then has a score of at least the time then, if the clock went on or was set forward; of at least now minus the
-- time that has passed, if it was set back.
-- Returns this server's time in ms, then the conversations.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local from = now - tonumber(ARGV[2])
if ARGV[1] ~= '' then from = math.min(from, tonumber(ARGV[1])) end
local changed = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', from - tonumber(ARGV[3])), '+inf')
return { string.format('%.0f', now), changed }
