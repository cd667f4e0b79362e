#!lua
-- Puts the entry of a dead letter back at the end of its partition's stream and removes the letter. The shebang (no allow-oom flag)
-- makes Redis refuse it before its first write when memory is full.
--
-- KEYS  1 the group's dead stream   2 the partition's stream
-- ARGV  1 id of the letter   2.. the names of what settle.lua has added behind the entry's own fields
-- Returns the entry's new stream id, or nothing when the letter is gone.

local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return false end
local fields = letter[2]
local own = #fields - 2 * (#ARGV - 1)
for i = 2, #ARGV do
  if own < 2 or fields[own + 2 * (i - 2) + 1] ~= ARGV[i] then
    return redis.error_reply('ERR this is not a dead letter of Tidings; nothing was done')
  end
end
local command = { 'XADD', KEYS[2], '*' }
for i = 1, own do command[#command + 1] = fields[i] end
local id = redis.call(unpack(command))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
