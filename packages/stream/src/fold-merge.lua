#!lua
-- Puts back the fold of one entry, unless Redis knows a later change of it.
--
-- KEYS  1 the conversation's folds
-- ARGV  1 the entry's seq   2 the seq of its newest change   3 the fold
-- Returns 1 when it was written.

local kept = redis.call('HGET', KEYS[1], ARGV[1])
local last = kept and tonumber(string.match(kept, '^last (%d+)') or '')
if last and last >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
