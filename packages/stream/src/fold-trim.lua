#!lua flags=allow-oom
-- Forgets the folds of a conversation that no reader of its log needs: neither the entry nor any change of it lies in the log, nor did
-- lately (a reader looks at the log first and at the folds then), and MySQL has it all.
--
-- KEYS  1 the conversation's folds   2 its log
-- ARGV  1 the newest seq that is stored
-- Returns how many were forgotten.

local LATELY = 1000
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if not first then return 0 end
local below = math.min(tonumber(string.match(first[1], '^%d+')) - LATELY, tonumber(ARGV[1]))
local gone = 0
for _, seq in ipairs(redis.call('HKEYS', KEYS[1])) do
  local number = tonumber(seq)
  -- A field that somebody wrote by hand is none of ours.
  if number and number < below then
    local last = tonumber(string.match(redis.call('HGET', KEYS[1], seq), '^last (%d+)') or '')
    if last and last < below then gone = gone + redis.call('HDEL', KEYS[1], seq) end
  end
end
return gone
