"""The one Lua script that counts: all limits of a call in one round trip, by Redis's own clock.

It judges all limits first, and takes of all or of none. Each key is one count of one caller; its arguments
are ``kind cost want back a b c``:

- ``bucket``: a token bucket of `a` tokens a second and `b` at once;
- ``window``: no more than `a` in any `b` seconds. Up to 64, each call has its moment; above that, calls in one 63rd
  of a window share one, and come back up to that much late, and never early;
- ``quota``: `a` in a calendar `b` (``day`` or ``month``, UTC); `c` is the beginning of the period that `back` is of;
- ``open``: calls under way, `a` at most, of which this gateway (`b`) has those that it says, for `c` seconds; a `cost`
  of -1 ends one, and `back` sets how many there are, less one;
- ``alive``: gateways that were here in the last `c` seconds; this one is `b`.

`want` are tokens for a lease beyond the cost: half of what is left of a bucket at most, a tenth of a quota. `back` are
those of a lease that were not used; they are returned whatever is decided.

The answer has six whole numbers for each key: allowed, leased, remaining, microseconds to the reset and until it may be
tried again, and the beginning of a quota's period or the number of gateways.
"""

from __future__ import annotations

from hashlib import sha1

#: In a cluster, all keys of a prefix are in one slot, since one script takes them.
TAG = "{limits}"
FIGURES = 6  #: numbers for each key

SCRIPT = b"""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local floor, min, max = math.floor, math.min, math.max

local function put(key, value, seconds)
  redis.call('SET', key, value, 'PX', floor(seconds * 1000) + 1000)
end

local function month()
  local today = floor(now / 86400)
  local z = today + 719468
  local era = floor(z / 146097)
  local doe = z - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local first = today - (doy - floor((153 * mp + 2) / 5))
  local m = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (m <= 2 and 1 or 0)
  local days = ({31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[m]
  if m == 2 and (year % 4 == 0 and year % 100 ~= 0 or year % 400 == 0) then days = 29 end
  return first * 86400, (first + days) * 86400
end

-- Each gives: allowed, what a lease may have, a function that takes so much, and one that tells what is left then.
local kinds = {}

function kinds.bucket(key, cost, back, a, b)
  local rps, burst = tonumber(a), tonumber(b)
  local tokens, held = burst, redis.call('GET', key)
  if held then
    local was, when = struct.unpack('dd', held)
    tokens = min(burst, was + max(0, now - when) * rps)
    -- The clock was set back: tokens come again from now on, whether or not this call takes any.
    if when > now then put(key, struct.pack('dd', tokens, now), (burst - tokens) / rps) end
  end
  tokens = min(burst, tokens + back)
  return tokens + 0.000001 >= cost, floor((tokens - cost) / 2), function(taken)
    tokens = max(0, tokens - taken)
    put(key, struct.pack('dd', tokens, now), (burst - tokens) / rps)
  end, function(allowed)
    return floor(tokens + 0.000001), (burst - tokens) / rps, allowed and 0 or (cost - tokens) / rps, 0
  end
end

function kinds.window(key, cost, back, a, b)
  local count, window = tonumber(a), tonumber(b)
  local grain, used, entries, ahead = window / 63, 0, {}, false
  local held = redis.call('GET', key)
  for _, entry in ipairs(held and cmsgpack.unpack(held) or {}) do
    if entry[1] + window > now then
      if entry[1] > now + 2 * grain then entry[1], ahead = now, true end
      entries[#entries + 1] = entry
      used = used + entry[2]
    end
  end
  -- The clock was set back: what was taken then was taken now, whether or not this call takes any.
  if ahead then put(key, cmsgpack.pack(entries), window + grain) end
  return used + cost <= count, 0, function(taken)
    if taken == 0 then return end
    local at = count <= 64 and now or (floor(now / grain) + 1) * grain
    local last = entries[#entries]
    if last and last[1] >= at then last[2] = last[2] + taken else entries[#entries + 1] = {at, taken} end
    used = used + taken
    put(key, cmsgpack.pack(entries), window + grain)
  end, function(allowed)
    local wait = 0
    if not allowed then
      local left = used + cost - count
      for _, entry in ipairs(entries) do
        left = left - entry[2]
        wait = entry[1] + window - now
        if left <= 0 then break end
      end
    end
    return count - used, allowed and window or wait, wait, 0
  end
end

function kinds.quota(key, cost, back, a, b, c)
  local quota, start = tonumber(a), floor(now / 86400) * 86400
  local stop = start + 86400
  if b == 'month' then start, stop = month() end
  local used, held = 0, redis.call('GET', key)
  if held then
    local when, was = struct.unpack('dd', held)
    if when == start then used = was end
  end
  if tonumber(c) == start then used = max(0, used - back) end
  return used + cost <= quota, floor((quota - used - cost) / 10), function(taken)
    used = used + taken
    put(key, struct.pack('dd', start, used), stop - now)
  end, function(allowed)
    return max(0, quota - used), stop - now, allowed and 0 or stop - now, start
  end
end

function kinds.open(key, cost, back, a, b, c)
  local mine, others, ttl = 0, 0, tonumber(c)
  local held = redis.call('HGETALL', key)
  for i = 1, #held, 2 do
    local count, ends = string.match(held[i + 1], '^(%d+) (%d+)$')
    if tonumber(ends) < now then
      redis.call('HDEL', key, held[i])
    elseif held[i] == b then
      mine = tonumber(count)
    else
      others = others + tonumber(count)
    end
  end
  if back > 0 then mine = back - 1 end
  return cost <= 0 or mine + others + cost <= tonumber(a), 0, function(taken)
    mine = max(0, mine + taken)
    if mine == 0 then
      redis.call('HDEL', key, b)
    else
      redis.call('HSET', key, b, string.format('%d %d', mine, now + ttl + 1))
      redis.call('PEXPIRE', key, ttl * 1000 + 1000)
    end
  end, function(allowed)
    return max(0, tonumber(a) - mine - others), 0, allowed and 0 or 1, 0
  end
end

function kinds.alive(key, cost, back, a, b, c)
  redis.call('ZADD', key, now, b)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - tonumber(c))
  redis.call('PEXPIRE', key, tonumber(c) * 1000)
  return true, 0, function() end, function() return 0, 0, 0, redis.call('ZCARD', key) end
end

local allowed, judged, answer = true, {}, {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 7
  local cost, back = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
  local fits, spare, take, tell = kinds[ARGV[at + 1]](key, cost, back, ARGV[at + 5], ARGV[at + 6], ARGV[at + 7])
  allowed = allowed and fits
  judged[i] = {fits, max(0, min(tonumber(ARGV[at + 3]), spare)), take, tell, cost, back}
end
for i, one in ipairs(judged) do
  local fits, extra, take, tell, cost, back = unpack(one)
  if not allowed then extra = 0 end
  if allowed then take(cost + extra) elseif back > 0 then take(0) end
  local remaining, reset, wait, more = tell(fits)
  for _, number in ipairs({fits and 1 or 0, extra, remaining, reset * 1000000, wait * 1000000, more}) do
    answer[#answer + 1] = number
  end
end
return answer
"""
SHA1 = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
