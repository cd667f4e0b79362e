#!lua
-- At most one export of a user at a time, in all api processes together.
--
-- KEYS  1 the export of the user
-- ARGV  1 `take`, `keep` or `drop`   2 the word of the one who exports   3 milliseconds that it counts without a `keep`
-- Returns 1; 0 when another one runs, or it is another's now.

local op, word, lives = ARGV[1], ARGV[2], ARGV[3]
if op == 'take' then
  return redis.call('SET', KEYS[1], word, 'NX', 'PX', lives) and 1 or 0
end
if redis.call('GET', KEYS[1]) ~= word then return 0 end
if op == 'keep' then
  redis.call('PEXPIRE', KEYS[1], lives)
else
  redis.call('DEL', KEYS[1])
end
return 1
