#!lua
-- Lets one conversation leap: a void entry at the end of the seqs that are skipped, in its log and in the partition's stream, so that
-- persist and every reader learn of it in its place; the head goes there. Once-keys that MySQL remembers come back in the same step.
-- Or, for a conversation that cannot have existed before this generation, only notes that it is safe.
--
-- KEYS  1 the partition's generation   2 the conversations that leapt   3 the partition's stream   4 `recent`
--       5 seq   6 skip   7 log   then the once-keys
-- ARGV  1 the generation's record as it was seen   2 the head as it was seen, '' for none   3 conversation
--       4 from   5 to (the void, both ends included; to is 0 when nothing is skipped)   6 n at its end
--       then per once-key: its value, the seconds it lives
-- Returns 1 when it leapt, 2 when it had leapt already, 0 when something has changed meanwhile (look again), or an error message.

local conversation, from, to, n = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local FIRST_KEYS, FIRST_ARGS = 7, 6

if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
local server = string.match(ARGV[1], '^%d+ (%x+)$')
if not server or not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. server, 1, true) then return 0 end
local head = redis.call('GET', KEYS[5])
if head and redis.call('SISMEMBER', KEYS[2], conversation) == 1 then return 2 end
if (head or '') ~= ARGV[2] then return 0 end

if to ~= '0' then
  local clock = redis.call('TIME')
  local now = clock[1] .. string.format('%03d', math.floor(clock[2] / 1000))
  local content = '{"from":' .. from .. ',"to":' .. to .. '}'
  local logged = redis.pcall('XADD', KEYS[7], to .. '-0', 'id', '0', 'n', n, 'from', '', 'type', 'void', 'content', content,
    'clientId', '', 'sentAt', now)
  if type(logged) == 'table' and logged.err then return logged.err end
  local written = redis.pcall('XADD', KEYS[3], '*', 'id', '0', 'conversation', conversation, 'seq', to, 'n', n, 'from', '',
    'type', 'void', 'content', content, 'clientId', '', 'sentAt', now, 'trace', '')
  if type(written) == 'table' and written.err then
    -- The log's ids stay where they are now: the next try leaps beyond.
    redis.call('XDEL', KEYS[7], to .. '-0')
    return written.err
  end
  redis.call('SET', KEYS[5], to)
  redis.call('SET', KEYS[6], string.format('%.0f', tonumber(to) - tonumber(n)))
  redis.call('PERSIST', KEYS[7])
  -- The folds were given a time to live together with the log, and the next append does not look: the conversation is in `recent` by then.
  -- Their name is made as append.lua makes it.
  redis.call('PERSIST', string.sub(KEYS[7], 1, -#conversation - 5) .. 'fold:' .. conversation)
  redis.call('ZADD', KEYS[4], now, conversation)
end
for i = FIRST_KEYS + 1, #KEYS do
  local a = FIRST_ARGS + 2 * (i - FIRST_KEYS) - 1
  redis.call('SET', KEYS[i], ARGV[a], 'NX', 'EX', ARGV[a + 1])
end
redis.call('SADD', KEYS[2], conversation)
return 1
