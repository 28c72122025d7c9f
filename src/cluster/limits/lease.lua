-- Settles what a node has used of some budgets, and leases it more of them. All in one step of Redis, by Redis' clock.
--
-- A budget is a hash: `used` messages at the time `at` (they refill, so this is the state of GCRA in messages), and for each
-- node that has an interest in it `<node>` = "held expires total": messages that are its own until they expire, and how many
-- it has reported since its lease exists. used + held never exceeds the budget, whatever is lost on the way.
--
-- KEYS: the stream of wishes, the set of nodes, and a hash for each budget.
-- ARGV: node, life of a lease in us, last wish seen, nodes that there are at least, and for each budget: messages, per in us,
-- total used, total settled, held, and what for: "report", "share", "more" or "release".
-- Returns the number of nodes, the wishes of others since, and for each budget: change of what is held, us until there may
-- be more, the share of a node, and how many messages nobody holds.
local SPARE = 25 -- This part of a budget is kept for a node that begins to take interest, and by nodes that are idle.
local RECALL_US = 10000 -- Until others can have given back.
local WISHES_MAX = 1000
local WRAP = 4294967296

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local node, life, seen = ARGV[1], tonumber(ARGV[2]), ARGV[3]

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now))
local nodes = math.max(tonumber(ARGV[4]), redis.call('ZCARD', KEYS[2]))

-- What has refilled is no longer used.
local function refilled(used, at, messages, per)
  return math.max(0, used - math.max(0, now - at) * messages / per)
end

local function settle(key, messages, per, total, settled, held, what)
  local used, at, before = 0, now, nil
  local others, holders, most = 0, 1, 0
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if name == 'used' then
      used = tonumber(value)
    elseif name == 'at' then
      at = tonumber(value)
    else
      local has, expires, reported = string.match(value, '^(%d+) (%d+) (%d+)$')
      if name == node then
        before = tonumber(reported)
      elseif has and tonumber(expires) > now then
        others, holders, most = others + tonumber(has), holders + 1, math.max(most, tonumber(has))
      elseif not has or tonumber(expires) + life < now then
        redis.call('HDEL', key, name)
      end
    end
  end

  -- A report that was lost or came twice counts once. A lease that is younger than the last report began at 0.
  local new = (total - (before or settled)) % WRAP
  if new > WRAP / 2 then
    new = (total - settled) % WRAP
  end
  used = math.min(refilled(used, at, messages, per) + new, 2 * messages)

  local spare = holders < nodes and math.floor(messages / SPARE) or 0
  local share = math.floor((messages - spare) / holders)
  local idle = math.floor(messages / SPARE / holders)
  local exact = messages - used - others - held
  local free = math.floor(exact + 0.000001)
  local change = 0
  if what == 'release' then
    change = -held
  elseif free < 0 then
    change = math.max(free, -held)
  elseif what == 'share' then
    change = math.max(0, math.min(share - held, free - spare))
  elseif what == 'more' then
    change = math.min(free, math.max(share - held, math.ceil(free / holders)))
  end
  held = held + change

  local wait = math.max(0, math.ceil((1 - (exact - change)) * per / messages))
  local urgent = what == 'more' and held < math.max(1, share) and most > idle
  if urgent or (what == 'share' and held < share and most > share) then
    redis.call('XADD', KEYS[1], 'MAXLEN', WISHES_MAX, '*', 'key', key, 'node', node,
      'busy', string.format('%d', math.max(1, share)), 'idle', string.format('%d', urgent and idle or share))
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', life / 1000))
    wait = math.min(wait, RECALL_US)
  end

  redis.call('HSET', key, 'used', string.format('%.6f', used), 'at', string.format('%.0f', now))
  -- A node that has left holds nothing; its last report is known for a while, should it come twice.
  local expires = what == 'release' and now or now + life
  redis.call('HSET', key, node, string.format('%d %.0f %.0f', held, expires, total))
  redis.call('PEXPIRE', key, string.format('%.0f', math.max(per, life) / 1000 + 1))
  return { change, wait, share, math.max(0, math.floor(exact - change)) }
end

local wishes = {}
if seen ~= '' then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. seen, '+', 'COUNT', WISHES_MAX)) do
    local wish = { entry[1] }
    for i = 2, #entry[2], 2 do
      wish[#wish + 1] = entry[2][i]
    end
    wishes[#wishes + 1] = wish
  end
end

local answers = {}
for i = 3, #KEYS do
  local at = 5 + (i - 3) * 6
  local number = function(offset) return tonumber(ARGV[at + offset]) end
  local ok, answer = pcall(settle, KEYS[i], number(0), number(1), number(2), number(3), number(4), ARGV[at + 5])
  if not ok then
    -- What nobody can read begins anew, and disturbs no other budget.
    redis.call('DEL', KEYS[i])
    answer = { 0, RECALL_US, 1, 0 }
  end
  answers[#answers + 1] = answer
end
return { nodes, wishes, answers }
