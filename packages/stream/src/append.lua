#!lua
-- Appends accepted items: numbers each, writes it to its conversation's log and to its partition's stream. The items of one call are
-- of one partition, or, on a single server, of several.
-- The shebang (no allow-oom flag) makes Redis refuse the whole call before its first write when memory is full.
--
-- KEYS  per partition: its stream, its `recent` index, its generation, the conversations that leapt in it;
--         then six per item of it: seq, skip, log, read, once, members;
--       behind all partitions: the folds of their conversations, one per item that changes another entry; two per item with a collapse
--       key: the folds, and the newest entry with that key
-- ARGV  the number of partitions; then per partition: the number of its items, and the number of the latest generation that the caller
--         has appended under (an older one is a server that was replaced);
--         then eleven per item of it: id, conversation, from, type, counts (1: raises n, 0: not, or a change, which does not; behind a
--         blank the options of the few that have any, `1 <place of its two keys> {…}` with a collapse key), content,
--         clientId, sentAt, trace, a digest of the body, '' when the sender gave no clientId (behind a plus sign that of the content, where
--         it is not what was sent), and the rule of its members: '' outside of rooms; `never`: it must not be appended; `check` that the
--         sender is in the room and not muted; `known`: there is such a room; or a change, `<version> <history>` and then words `+<user>:<muted until>` for who joins,
--         `~<user>:<muted until>` for who is muted, `-<user>` for who leaves; or `<version> ended`.
--         A change is `<edit, recall, add or remove> <place of its folds' key> <target's seq> <base> <until> <target's id> <target's sentAt>
--         <detail>`: `base` is the newest change of the target that must be known here, `until` when the time for it is over (0: never), the
--         detail of an edit the bytes before the new content, of a reaction the emoji. fold.ts of protocol says what a fold looks like.
-- Returns one array per partition: `G` alone when its generation does not name this server, or is an older one: nothing of it was
-- done, the generation must be opened. Else the generation's number, then one string per item:
--       `A <seq> <stream id>`                         appended
--       `D <id> <seq> <sentAt> <stream id>`           the same was appended before: the answer first given
--       `C`                                           the once-key holds another body
--       `R`                                           it is not to be appended, and was not before
--       `L`                                           the head may be behind what was given out: the conversation must leap first
--       `U`                                           who is in the room is not known here (see members.ts): it must be put back first
--       `N`                                           the sender is not in the room
--       `M <until>`                                   the sender is muted
--       `W`                                           it is too late for this change
--       `X <type>`                                    its target is gone: it was recalled, for example
--       `Y`                                           its target has too many reactions
--       `E <message>`                                 Redis refused; nothing of this item was written
--       A change of what is so already is answered as `D`, with the newest change of the target, or with the target itself.
-- What many items need is asked for at once: generations, heads and skips for the whole call, `recent` and who leapt for a partition.
-- Each command that a script calls costs as much as some lines of it, and each word of a command that writes is kept for the AOF.
-- Per item the order is: once-key, log, stream. The heads follow together at the end, whatever became of the items. The log's ids are
-- `<seq>-0`, so Redis itself refuses a seq that was given out before; a failure half-way never leaves a seq that two entries could get.

local PARTITION_KEYS, ITEM_KEYS, ITEM_ARGS, ONCE_SECONDS = 4, 6, 11, 86400
local COLLAPSE_SECONDS = 30 * 86400
-- Of one entry: who reacted with what, and with how many different emojis.
local MOST_REACTIONS, MOST_EMOJIS = 1000, 20
local KEYS, ARGV, call, try = KEYS, ARGV, redis.call, redis.pcall

-- A server that was restarted or promoted has another replication id, and may have forgotten a tail.
local server = string.match(call('INFO', 'replication'), 'master_replid:(%x+)')
local clock = call('TIME')
local now = clock[1] .. string.format('%03d', math.floor(clock[2] / 1000))

-- By key, as this call has found or left them; while `skipping` is false no conversation of the call skips anything.
local headAt, skipAt, skipping = {}, {}, false
-- Keys and values in turn, to be set at the end.
local changes = {}

local function failure(reply)
  return type(reply) == 'table' and reply.err
end

local function whole(number)
  return string.format('%.0f', number)
end

local function change(key, value)
  local length = #changes
  changes[length + 1] = key
  changes[length + 2] = value
end

-- Is what was kept the same send? What was sent is what counts. Of what came back from MySQL only what was appended is known.
local function isSame(known, digest)
  -- `*`: it is not known any more, for the entry was changed.
  if known == digest or known == '*' then return true end
  local knownSent, knownContent = string.match(known, '^([^+]*)%+?(.*)$')
  local sent, content = string.match(digest, '^([^+]*)%+?(.*)$')
  return knownSent == sent or (knownContent == '' and knownSent == content)
end

-- May this item be appended, as far as the room's members go? @return nil, or the answer
local function checkMembers(membersKey, from, rule, generation)
  local known = try('HMGET', membersKey, '*', from)
  if failure(known) then return 'E ' .. known.err end
  if not known[1] or string.match(known[1], '^%d+') ~= generation then return 'U' end
  if rule ~= 'check' then return nil end
  local joined, muted = string.match(known[2] or '', '^(%d+):(%d+)$')
  -- 0: the entry that lets the sender in is still to come.
  if not joined or joined == '0' then return 'N' end
  if tonumber(muted) > tonumber(now) then return 'M ' .. muted end
  return nil
end

-- What an appended entry changes of its room's members. A new member has read what was before.
local function changeMembers(membersKey, readKey, rule, generation, seq, n)
  local version, rest = string.match(rule, '^(%d+) (.*)$')
  if rest == 'ended' then return call('DEL', membersKey) end
  local history = string.match(rest, '^%S+')
  call('HSET', membersKey, '*', generation .. ' ' .. version .. ' ' .. history)
  for sign, user, muted in string.gmatch(rest, ' ([+~-])([^ :]+):?(%d*)') do
    if sign == '-' then
      call('HDEL', membersKey, user)
    elseif sign == '+' then
      call('HSET', membersKey, user, seq .. ':' .. muted)
      try('HSET', readKey, user, seq .. ':' .. n)
    else
      local joined = string.match(call('HGET', membersKey, user) or '', '^%d+')
      if joined then call('HSET', membersKey, user, joined .. ':' .. muted) end
    end
  end
end

-- Where somebody stands in the facts of a fold. @return begin and end of the line's users, then of the user's own name, if they are there
local function findReaction(facts, emoji, user)
  local _, marked = string.find(facts, '\nreact ' .. emoji .. ' ', 1, true)
  if not marked then return nil end
  local stop = (string.find(facts, '\n', marked + 1, true) or #facts + 1) - 1
  local at = string.find(string.sub(facts, marked, stop) .. ' ', ' ' .. user .. ' ', 1, true)
  return marked + 1, stop, at and marked + at, at and marked + at + #user - 1
end

local function tooManyReactions(facts, emoji)
  local emojis, reactions, known = 0, 0, false
  for one, users in string.gmatch(facts, '\nreact (%S+) ([^\n]+)') do
    emojis = emojis + 1
    if one == emoji then known = true end
    reactions = reactions + 1 + select(2, string.gsub(users, ' ', ' '))
  end
  return reactions >= MOST_REACTIONS or (not known and emojis >= MOST_EMOJIS)
end

-- May this change be made, as far as its target goes?
-- @return what foldIn needs to make it; or nil and the answer
local function checkChange(words, from)
  local what, place, seq, base, till, id, sentAt, detail =
    string.match(words, '^(%a+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (.*)$')
  local key = KEYS[tonumber(place)]
  local kept = try('HGET', key, seq)
  if failure(kept) then return nil, 'E ' .. kept.err end
  -- The first line tells of the newest change; what follows are the other facts, each behind a line break, and the content.
  local last, facts, content = nil, '', nil
  if kept then
    local split = string.find(kept, '\n\n', 1, true)
    if split then content = string.sub(kept, split + 2) end
    last, facts = string.match(split and string.sub(kept, 1, split - 1) or kept, '^last ([^\n]*)(.*)$')
    if not last then return nil, 'E ERR the fold of the target cannot be read' end
  end
  local newest, newestId, newestAt, newestStream = string.match(last or '', '^(%d+) (%d+) (%d+) (%S+)$')
  if tonumber(newest or '0') < tonumber(base) then return nil, 'E ERR the fold of the target was forgotten' end
  local done
  if newest then
    done = 'D ' .. newestId .. ' ' .. newest .. ' ' .. newestAt .. ' ' .. newestStream
  else
    done = 'D ' .. id .. ' ' .. seq .. ' ' .. sentAt .. ' 0-0'
  end
  local gone = string.match(facts, '\ngone (%S+)')
  if what == 'recall' and gone then return nil, done end
  if gone then return nil, 'X ' .. gone end
  local first, stop, at, upTo = findReaction(facts, detail, from)
  if (what == 'add' and at) or (what == 'remove' and not at) then return nil, done end
  if till ~= '0' and tonumber(now) > tonumber(till) then return nil, 'W' end
  if what == 'add' and tooManyReactions(facts, detail) then return nil, 'Y' end
  return { key = key, target = seq, what = what, detail = detail, facts = facts, content = content,
    first = first, stop = stop, at = at, upTo = upTo }
end

-- Makes a change that was checked: what readers see of its target from now on. applyChange in fold.ts of protocol does the same.
local function foldIn(fold, from, id, seq, sentAt, streamId, entryContent)
  local facts, content, what, detail = fold.facts, fold.content, fold.what, fold.detail
  if what == 'edit' then
    facts = '\nedited ' .. seq .. ' ' .. sentAt .. string.gsub(facts, '\nedited [^\n]*', '', 1)
    content = string.sub(entryContent, tonumber(detail) + 1, -2)
  elseif what == 'recall' then
    facts, content = '\ngone recalled ' .. seq .. ' ' .. sentAt .. ' ' .. from, nil
  elseif what == 'add' then
    if fold.stop then
      facts = string.sub(facts, 1, fold.stop) .. ' ' .. from .. string.sub(facts, fold.stop + 1)
    else
      facts = facts .. '\nreact ' .. detail .. ' ' .. from
    end
  elseif fold.at == fold.first and fold.upTo == fold.stop then
    local line = #('\nreact ' .. detail .. ' ')
    facts = string.sub(facts, 1, fold.first - line - 1) .. string.sub(facts, fold.stop + 1)
  elseif fold.at == fold.first then
    facts = string.sub(facts, 1, fold.at - 1) .. string.sub(facts, fold.upTo + 2)
  else
    facts = string.sub(facts, 1, fold.at - 2) .. string.sub(facts, fold.upTo + 1)
  end
  local text = 'last ' .. seq .. ' ' .. id .. ' ' .. sentAt .. ' ' .. streamId .. facts
  if content then text = text .. '\n\n' .. content end
  call('HSET', fold.key, fold.target, text)
end

-- What was pushed with a key before, and is to be collapsed by an entry of this seq. @return a table; or nil and the answer
local function findOlder(place, seq)
  local foldKey, newestKey = KEYS[place], KEYS[place + 1]
  local older = try('GET', newestKey)
  if failure(older) then return nil, 'E ' .. older.err end
  if not (older and string.find(older, '^%d+$') and tonumber(older) < seq) then older = nil end
  local kept = older and try('HGET', foldKey, older)
  if failure(kept) then return nil, 'E ' .. kept.err end
  return { foldKey = foldKey, newestKey = newestKey, older = older, gone = kept and string.find(kept, '\ngone ', 1, true) }
end

-- From now on this is the newest entry with its key; the one before is a stub, unless it is one already.
local function collapseOlder(collapse, id, seq, sentAt, streamId)
  call('SET', collapse.newestKey, seq, 'EX', COLLAPSE_SECONDS)
  if not collapse.older or collapse.gone then return end
  call('HSET', collapse.foldKey, collapse.older,
    'last ' .. seq .. ' ' .. id .. ' ' .. sentAt .. ' ' .. streamId .. '\ngone collapsed ' .. seq .. ' ' .. sentAt .. ' ')
end

-- One item: its keys begin behind KEYS[k], its arguments at ARGV[a]. `safe` says that its conversation's head is not behind.
local function append(k, a, stream, safe, generation)
  local seqKey, skipKey, logKey, readKey, onceKey = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5]
  local id, conversation, from, kind, content = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 5]
  local clientId, sentAt, digest = ARGV[a + 6], ARGV[a + 7], ARGV[a + 9]
  local membersKey, rule = KEYS[k + 6], ARGV[a + 10]

  if digest ~= '' then
    local kept = try('GET', onceKey)
    if failure(kept) then return 'E ' .. kept.err end
    if kept then
      local known, answer = string.match(kept, '^(%S+) (.*)$')
      if not known or not isSame(known, digest) then return 'C' end
      -- Written again as it is: newer Redis' WAIT counts only what its connection wrote, and the first call was perhaps another's.
      call('SET', onceKey, kept, 'KEEPTTL')
      return 'D ' .. answer
    end
  end

  if not safe then return 'L' end
  local head = headAt[seqKey]
  if not head then
    -- None, or a key of another type.
    head = try('GET', seqKey)
    if failure(head) then return 'E ' .. head.err end
    if call('EXISTS', logKey) == 1 then return 'L' end
  end
  if rule ~= '' then
    if rule == 'never' then return 'R' end
    local refused = checkMembers(membersKey, from, rule, generation)
    if refused then return refused end
  end
  local skipped = skipAt[skipKey] or skipping and try('GET', skipKey)
  if failure(skipped) then return 'E ' .. skipped.err end
  local number, skips = tonumber(head or '0'), tonumber(skipped or '0')
  if not number or not skips then return 'E ERR the head of the conversation is not a number' end
  local seq = whole(number + 1)
  local flag, options, fold, collapse = ARGV[a + 4], nil, nil, nil
  -- Most items are messages without options.
  local counts = flag == '1'
  if not counts and flag ~= '0' then
    local counting, place, rest = string.match(flag, '^([01]) (%d*) ?({.*})$')
    if counting then counts, options = counting == '1', rest end
    if counting and place ~= '' then
      local problem
      collapse, problem = findOlder(tonumber(place), number + 1)
      if problem then return problem end
      if collapse.older then options = string.sub(rest, 1, -2) .. ',"collapses":' .. collapse.older .. '}' end
    end
  end
  if not counts then
    skips = skips + 1
    if flag ~= '0' and not options then
      local answer
      fold, answer = checkChange(flag, from)
      if not fold then
        -- From now on this key stands for that answer.
        if digest ~= '' and string.sub(answer, 1, 2) == 'D ' then
          call('SET', onceKey, digest .. string.sub(answer, 2), 'EX', ONCE_SECONDS)
        end
        return answer
      end
    end
  end
  local n = skips == 0 and seq or whole(number + 1 - skips)

  -- A log names its conversation, and its ids name the seqs.
  local logged
  if options then
    logged = try('XADD', logKey, seq .. '-0', 'id', id, 'n', n, 'from', from, 'type', kind, 'content', content,
      'clientId', clientId, 'sentAt', sentAt, 'options', options)
  else
    logged = try('XADD', logKey, seq .. '-0', 'id', id, 'n', n, 'from', from, 'type', kind, 'content', content,
      'clientId', clientId, 'sentAt', sentAt)
  end
  if failure(logged) then return 'E ' .. logged.err end
  local streamId
  if options then
    streamId = try('XADD', stream, '*', 'id', id, 'conversation', conversation, 'seq', seq, 'n', n, 'from', from,
      'type', kind, 'content', content, 'clientId', clientId, 'sentAt', sentAt, 'trace', ARGV[a + 8], 'options', options)
  else
    streamId = try('XADD', stream, '*', 'id', id, 'conversation', conversation, 'seq', seq, 'n', n, 'from', from,
      'type', kind, 'content', content, 'clientId', clientId, 'sentAt', sentAt, 'trace', ARGV[a + 8])
  end
  if failure(streamId) then
    -- Take the log entry back, and the log's last id too, so that this seq is free again.
    if number == 0 then
      call('DEL', logKey)
    else
      call('XDEL', logKey, seq .. '-0')
      call('XSETID', logKey, whole(number) .. '-0')
    end
    return 'E ' .. streamId.err
  end
  headAt[seqKey] = seq
  change(seqKey, seq)
  if not counts then
    skipAt[skipKey] = whole(skips)
    change(skipKey, skipAt[skipKey])
  end
  -- One's own send moves one's read position, a change does not. The entry stands whatever this key holds.
  if not fold then try('HSET', readKey, from, seq .. ':' .. n) end
  if fold then foldIn(fold, from, id, seq, sentAt, streamId, content) end
  if collapse then collapseOlder(collapse, id, seq, sentAt, streamId) end
  if rule ~= '' and rule ~= 'check' and rule ~= 'known' then changeMembers(membersKey, readKey, rule, generation, seq, n) end
  if digest ~= '' then
    call('SET', onceKey, digest .. ' ' .. id .. ' ' .. seq .. ' ' .. sentAt .. ' ' .. streamId, 'EX', ONCE_SECONDS)
  end
  return 'A ' .. seq .. ' ' .. streamId
end

-- The conversations of a partition's items, as they stand in `recent` from now on, also when an item is refused: somebody looks in vain.
-- But for what is never appended, whose sender may have made the conversation up. The log of one that was not in it may have been given
-- a time to live.
local function touch(recent, k, a, items)
  local changed, length = {}, 0
  for item = 1, items do
    local at = a + (item - 1) * ITEM_ARGS
    if ARGV[at + 10] ~= 'never' then
      changed[length + 1] = now
      changed[length + 2] = ARGV[at + 1]
      length = length + 2
    end
  end
  if length == 0 then return 0 end
  local added = try('ZADD', recent, unpack(changed))
  if failure(added) or added == 0 then return added end
  for item = 1, items do
    local logKey, conversation = KEYS[k + (item - 1) * ITEM_KEYS + 3], ARGV[a + (item - 1) * ITEM_ARGS + 1]
    call('PERSIST', logKey)
    -- Not among KEYS, for nearly no call needs it. It carries the same hash tag, so it lies in the same slot.
    call('PERSIST', string.sub(logKey, 1, -#conversation - 5) .. 'fold:' .. conversation)
  end
end

-- Which of the items are of conversations that leapt.
local function leaps(leapt, a, items)
  local names = {}
  for item = 1, items do names[item] = ARGV[a + (item - 1) * ITEM_ARGS + 1] end
  return try('SMISMEMBER', leapt, unpack(names))
end

-- The items of one partition; adds to its answers, which begin with its generation.
local function appendAll(part)
  local p, k, a, items, answers = part.p, part.k, part.a, part.items, part.answers
  -- A key of another type by hand: no other partition suffers.
  local refused = failure(touch(KEYS[p + 2], k, a, items))
  local leapt = not refused and answers[1] ~= '1' and leaps(KEYS[p + 4], a, items)
  refused = refused or failure(leapt)
  for item = 1, items do
    local safe = not leapt or leapt[item] == 1
    answers[item + 1] = refused and 'E ' .. refused
      or append(k + (item - 1) * ITEM_KEYS, a + (item - 1) * ITEM_ARGS, KEYS[p + 1], safe, answers[1])
  end
end

-- The generation that a record names, if it names this server and is none that was replaced.
local function generationIn(record, latest)
  if record == latest .. ' ' .. server then return latest end
  -- No record, or a key of another type: whoever opens the generation says so.
  local generation, opened = string.match(record or '', '^(%d+) (%x+)$')
  if opened == server and tonumber(generation) >= tonumber(latest) then return generation end
end

-- Each partition's own keys begin behind KEYS[p], those of its first item behind KEYS[k], that item's arguments at ARGV[a].
local parts, records = {}, {}
local p, a = 0, 2 + 2 * tonumber(ARGV[1])
for i = 1, tonumber(ARGV[1]) do
  local items = tonumber(ARGV[2 * i])
  parts[i] = { p = p, k = p + PARTITION_KEYS, a = a, items = items }
  records[i] = KEYS[p + 3]
  p = p + PARTITION_KEYS + items * ITEM_KEYS
  a = a + items * ITEM_ARGS
end

local seqKeys, skipKeys = {}, {}
for i, record in ipairs(call('MGET', unpack(records))) do
  local part, generation = parts[i], generationIn(record, ARGV[2 * i + 1])
  part.answers = { generation or 'G' }
  part.open = generation
  for item = 1, generation and part.items or 0 do
    local k = part.k + (item - 1) * ITEM_KEYS
    seqKeys[#seqKeys + 1] = KEYS[k + 1]
    skipKeys[#skipKeys + 1] = KEYS[k + 2]
  end
end
if #seqKeys > 0 then
  for i, head in ipairs(call('MGET', unpack(seqKeys))) do headAt[seqKeys[i]] = head end
  skipping = call('EXISTS', unpack(skipKeys)) > 0
end

local answers = {}
for i, part in ipairs(parts) do
  answers[i] = part.answers
  if part.open then
    local done, problem = pcall(appendAll, part)
    for item = #part.answers, done and 0 or part.items do
      part.answers[item + 1] = 'E ' .. (failure(problem) or tostring(problem))
    end
  end
end
if #changes > 0 then call('MSET', unpack(changes)) end
return answers
