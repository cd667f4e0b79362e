#!lua
-- Writes a partition's generation, if it is still what the caller saw and the server is still the one that the caller saw.
--
-- When data may be lost, it also ends the ownership of whoever works on the partition: what he has in hand may be forgotten, and the
-- server may give its stream ids to other entries. He claims again, and reads what is there now.
--
-- KEYS  1 the generation   2 the conversations that leapt in it   3 and on: the fence of each group
-- ARGV  1 the record as it was seen, '' for none   2 the new record   3 the server's id as it was seen   4 `1` when data may be lost
-- Returns 1 when it was written, 0 when something has changed meanwhile: look again.

local seen = redis.call('GET', KEYS[1]) or ''
if seen ~= ARGV[1] then return 0 end
if not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ARGV[3], 1, true) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[4] == '1' then
  redis.call('UNLINK', KEYS[2])
  for i = 3, #KEYS do redis.call('INCR', KEYS[i]) end
end
return 1
