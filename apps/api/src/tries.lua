#!lua
-- Counts tries to sign in before they are decided, so that many at once are counted too. After the free ones each failure makes the
-- next try wait: 1 s, 2 s, 4 s and so on. A try that comes too early is not counted, so it makes nobody wait longer.
--
-- KEYS  1 the tries of a name, or of an address
-- ARGV  1 try, undo (it did not fail) or forget (it was right)   2 free failures   3 longest wait, in ms   4 how long they count, in ms
-- Returns 0, or for a try that comes too early: in how many ms.

if ARGV[1] == 'forget' then
  redis.call('DEL', KEYS[1])
  return 0
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'tries', 'next')
local tries, next = tonumber(known[1] or '0'), tonumber(known[2] or '0')
if ARGV[1] == 'undo' then
  if tries > 0 then redis.call('HSET', KEYS[1], 'tries', tries - 1, 'next', 0) end
  return 0
end
if now < next then return next - now end
tries = tries + 1
next = 0
local beyond = tries - tonumber(ARGV[2])
if beyond > 0 then next = now + math.min(tonumber(ARGV[3]), 1000 * 2 ^ math.min(beyond - 1, 20)) end
redis.call('HSET', KEYS[1], 'tries', tries, 'next', string.format('%.0f', next))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 0
