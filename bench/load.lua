-- wrk sends one request again and again, under each session in turn and each time with another id, and compares every
-- answer byte for byte but for the id, which has to be one that is waited for.
-- Arguments after `--`: a folder, and the id that stands in its files. They are: headers (a line each), body, expected,
-- sessions (an id a line, may be empty). `done` prints one line of JSON; latencies are in microseconds.

local POOL = 8192

local threads = {}
local requests = {}
local ids = {}
local waiting = {}
local turn = 0
local before, after, size, start, stop
wrong = 0

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function cut(text, id)
  local from, to = string.find(text, id, 1, true)
  assert(from, "no id in the text")
  return from, to
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local folder, id = args[1], args[2]
  local body, expected = read(folder .. "/body"), read(folder .. "/expected")
  start, stop = cut(expected, id)
  before, after, size = string.sub(expected, 1, start - 1), string.sub(expected, stop + 1), #expected
  local from, to = cut(body, id)
  local sessions = {}
  for session in string.gmatch(read(folder .. "/sessions"), "[^\n]+") do
    sessions[#sessions + 1] = session
  end
  local headers = {}
  for name, value in string.gmatch(read(folder .. "/headers"), "([^\n:]+): ([^\n]*)") do
    headers[name] = value
  end
  for number = 1, POOL do
    if #sessions > 0 then
      headers["Mcp-Session-Id"] = sessions[number % #sessions + 1]
    end
    ids[number] = string.format("%0" .. #id .. "d", tonumber(id) + number)
    local text = string.sub(body, 1, from - 1) .. ids[number] .. string.sub(body, to + 1)
    requests[number] = wrk.format("POST", nil, headers, text)
  end
end

function request()
  turn = turn % POOL + 1
  waiting[ids[turn]] = true
  return requests[turn]
end

function response(status, headers, body)
  local id = string.sub(body, start, stop)
  local right = status == 200 and #body == size and waiting[id]
    and string.sub(body, 1, start - 1) == before and string.sub(body, stop + 1) == after
  waiting[id] = nil
  if not right then
    wrong = wrong + 1
    if wrong == 1 then
      io.stderr:write("HTTP " .. status .. " " .. string.sub(body, 1, 300) .. "\n")
    end
  end
end

function done(summary, latency)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    bad = bad + thread:get("wrong")
  end
  io.write(string.format('{"calls":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), bad))
end
