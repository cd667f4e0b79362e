#!lua
-- Takes from a bucket of tokens that fills steadily, and says what is left. What was taken is taken: the level may fall below nothing,
-- down to ten bursts, so that what several processes let pass at once is waited for afterwards.
--
-- KEYS  1 the bucket
-- ARGV  1 tokens per second   2 the most that it holds   3 how many were taken
-- Returns the level, as text.

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local rate, burst, taken = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[1], 'level', 'at')
local level, at = tonumber(known[1] or burst), tonumber(known[2] or now)
level = math.min(burst, level + math.max(0, now - at) * rate / 1000) - taken
level = math.max(level, -10 * burst)
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - level) / rate * 1000) + 1000)
return tostring(level)
