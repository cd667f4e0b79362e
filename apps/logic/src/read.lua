#!lua
-- Moves a read position forward, never back.
--
-- KEYS  1 the read positions of a conversation
-- ARGV  1 user   2 seq   3 n at that seq   4 1: also where Redis knows none, 0: not
-- Returns 1 moved, 0 it stood there or further, -1 Redis knows none (nothing was written).

local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known and ARGV[4] == '0' then return -1 end
if tonumber(ARGV[2]) <= tonumber(string.match(known or '0', '^%d+') or '0') then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
return 1
