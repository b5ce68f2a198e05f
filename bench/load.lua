-- wrk sends one request again and again, under each session in turn, and compares every answer byte for byte.
-- The folder given after `--` holds: headers (a line each), body, expected, sessions (an id a line, may be empty).
-- `done` prints one line of JSON; latencies are in microseconds.

local threads = {}
local requests = {}
local turn = 0
local expected
wrong = 0

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local folder = args[1]
  local body = read(folder .. "/body")
  expected = read(folder .. "/expected")
  local headers = {}
  for name, value in string.gmatch(read(folder .. "/headers"), "([^\n:]+): ([^\n]*)") do
    headers[name] = value
  end
  for id in string.gmatch(read(folder .. "/sessions"), "[^\n]+") do
    headers["Mcp-Session-Id"] = id
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
  if #requests == 0 then
    requests[1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(status, headers, body)
  if status ~= 200 or body ~= expected then
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
