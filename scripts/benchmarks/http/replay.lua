-- Replays prepared requests, one after the other; what it counts is printed as one line of JSON.
--
-- Arguments: the file of requests (each: its length in bytes, a line break, its bytes);
--   what follows when they are used up: "again"; "drain": the run ends there, and is timed until there; "stop": the
--   same, and the run is void;
--   the status that is wanted of every answer, or 0 where wrk's own count of errors will do, which costs wrk less;
--   the pause of a connection before each request, in milliseconds;
--   the file into which each answer's reservation and first seat are written, or "-".

local ffi = require("ffi")
ffi.cdef[[
struct bench_time { long seconds; long nanoseconds; };
int clock_gettime(int clock, struct bench_time *time);
]]

local MONOTONIC = 1
local thread_of_script

local function now_us()
   local time = ffi.new("struct bench_time")
   ffi.C.clock_gettime(MONOTONIC, time)
   return tonumber(time.seconds) * 1e6 + tonumber(time.nanoseconds) / 1e3
end

function setup(thread)
   thread_of_script = thread
   thread:set("unwanted", 0)
   thread:set("used_up", 0)
   thread:set("active_us", 0)
end

function init(args)
   requests, place, behaviour = {}, 0, args[2]
   local file = assert(io.open(args[1], "rb"))
   while true do
      local length = file:read("*n")
      if length == nil then break end
      file:read(1)
      requests[#requests + 1] = file:read(length)
   end
   file:close()
   local wanted, pause, record = tonumber(args[3]), tonumber(args[4]), args[5]
   if pause > 0 then
      delay = function() return pause end
   end
   local output
   if record ~= "-" then
      output = assert(io.open(record, "wb"))
      output:setvbuf("full", 1048576)
   end
   if wanted > 0 then
      response = function(status, headers, body)
         if status ~= wanted then
            unwanted = unwanted + 1
         elseif output then
            output:write(body:match('"reservation_id":%s*"([^"]+)"'), " ", body:match('"seat_ids":%s*%["([^"]+)"'), "\n")
         end
      end
   end
end

function request()
   place = place + 1
   -- wrk asks for the first one only to look at it.
   if place == 2 then began_us = now_us() end
   if place > #requests then
      place = 1
      if behaviour ~= "again" and active_us == 0 then
         active_us = now_us() - began_us
         if behaviour == "stop" then used_up = 1 end
         wrk.thread:stop()
      end
   end
   return requests[place]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"connect_errors":%d,"read_errors":%d,"write_errors":%d,"status_errors":%d,"timeouts":%d,' ..
      '"unwanted":%d,"used_up":%d,"active_us":%d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout,
      thread_of_script:get("unwanted"), thread_of_script:get("used_up"),
      thread_of_script:get("active_us")))
end
