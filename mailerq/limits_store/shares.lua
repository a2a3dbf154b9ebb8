-- What members hold of each limit. One run is one step: nobody sees half of it.
--
-- KEYS: the members, the time since which this store knows anything, then one for each line of the question.
-- ARGV[1]: a question (mailerq/shares/exchange.py). Returns an answer; both are JSON.
--
-- members:  member -> life, number of its last question, time of it. A life that began later is greater.
-- a limit:  member -> life, held, want, number, rate, since, pay; 'due' -> when what was given back may be used
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local asked = cjson.decode(ARGV[1])
local me, life, lease = asked.me, asked.life, asked.lease

local lives, heard, members = {}, {}, {}
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
    local member = known[i]
    local its_life, seq, seen = string.match(known[i + 1], '^(%S+) (%S+) (%S+)$')
    local age = now - tonumber(seen)
    if member == me then
        if its_life > life or (its_life == life and tonumber(seq) >= asked.seq) then
            return cjson.encode({members = {}, told = {}})
        end
    elseif age > lease then
        redis.call('HDEL', KEYS[1], member)
    else
        lives[member], heard[member] = its_life, age
        members[#members + 1] = member
    end
end
if asked.leave then
    redis.call('HDEL', KEYS[1], me)
else
    members[#members + 1] = me
    redis.call('HSET', KEYS[1], me, string.format('%s %d %.6f', life, asked.seq, now))
    redis.call('PEXPIRE', KEYS[1], math.ceil(lease * 2000))
end

-- A store that has forgotten all, or is new, gives nothing until those who hold something had time to say so.
local born = tonumber(redis.call('GET', KEYS[2]) or '')
if not born then
    born = now
end
redis.call('SET', KEYS[2], string.format('%.6f', born), 'PX', math.ceil(lease * 1000))
local gives = now - born >= asked.grace and not asked.leave

local told = {}
for index, line in ipairs(asked.lines) do
    local key = KEYS[index + 2]
    local claim, ask, want, number, rate, due_in, pay = unpack(line)
    local due, taken, smallest, others = 0, 0, number, {}
    local was, was_wanting, since = 0, false, now
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
        local member = fields[i]
        if member == 'due' then
            due = math.max(due, tonumber(fields[i + 1]))
        else
            local its_life, held, wants, its_number, its_rate, its_since, its_pay =
                string.match(fields[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
            held, its_pay = tonumber(held), tonumber(its_pay)
            local alive = lives[member] == its_life
            if member == me then alive = its_life == life end
            if not alive then
                redis.call('HDEL', key, member)
                if held > 0 and its_pay > 0 then due = math.max(due, now + its_pay) end
            elseif member == me then
                was, was_wanting, since = held, tonumber(wants) > 0, tonumber(its_since)
            else
                taken = taken + held
                smallest = math.min(smallest, tonumber(its_number))
                others[#others + 1] = {member, held, tonumber(wants), now - tonumber(its_since), heard[member],
                    tonumber(its_rate), tonumber(its_number)}
            end
        end
    end
    if claim == 0 and was > 0 and due_in > 0 then due = math.max(due, now + due_in) end
    local held = claim
    if gives and ask > claim then
        held = claim + math.max(0, math.min(ask - claim, smallest - taken - claim))
    end
    if held > 0 then
        if was == 0 then since = math.max(now, due) end
    elseif was > 0 or not was_wanting then
        since = now
    end
    if asked.leave or (held == 0 and want == 0) then
        redis.call('HDEL', key, me)
    else
        redis.call('HSET', key, me,
            string.format('%s %d %d %d %.6f %.6f %.6f', life, held, want, number, rate, since, pay))
    end
    if due > now then
        redis.call('HSET', key, 'due', string.format('%.6f', due))
    else
        redis.call('HDEL', key, 'due')
    end
    redis.call('PEXPIRE', key, math.ceil(1000 * math.max(2 * lease, due - now + lease)))
    told[index] = {held, math.max(0, due - now), now - since, others}
end
return cjson.encode({members = members, told = told})
