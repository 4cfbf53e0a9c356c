-- What an initrc sees: tables of Lua functions over `host`, whose functions give true and a value, or false and a text.

local host = ...

-- A function with that many arguments: what is not given is nil, and what is too much is dropped, as ever in Lua.
local function lift (name, arity)
  local call = host[name]
  return function (...)
    local done, value = call (table.unpack ({ ... }, 1, arity or 0))
    if done then return value end
    error (value, 2)
  end
end

local function table_with (functions, get, set)
  return setmetatable (functions, { __index = get, __newindex = set, __metatable = false })
end

plugin = table_with ({ load = lift ("load", 1), register = lift ("register", 1) }, lift ("plugin_get", 2), lift ("plugin_set", 3))

local options = setmetatable ({}, {
  __index = lift ("option_get", 2),
  __newindex = lift ("option_set", 3),
  __pairs = function () return next, lift "options_copy" (), nil end,
  __metatable = false,
})

local facts = { info = lift "info", rankinfo = lift "rankinfo", rcpath = lift "rcpath" }

shell = table_with ({
  log = lift ("log", 1), debug = lift ("debug", 1), log_error = lift ("log_error", 1), die = function (text) host.die (tostring (text)) end,
  getenv = lift ("getenv", 1), setenv = lift ("setenv", 3), unsetenv = lift ("unsetenv", 1),
  get_rankinfo = lift ("rankinfo", 1),
  options = options,
}, function (_, name) if facts[name] then return facts[name] () end end,
function (self, name, value)
  if facts[name] then error ("shell." .. name .. " cannot be set", 2) end
  rawset (self, name, value)
end)

local task_calls = {
  getenv = lift ("task_getenv", 1), setenv = lift ("task_setenv", 3), unsetenv = lift ("task_unsetenv", 1),
}
local task_info = lift "task_info"

task = table_with ({}, function (_, name)
  local done, text = host.need_task (name)
  if not done then error (text, 2) end
  if name == "info" then return task_info () end
  return task_calls[name]
end, function (_, name) error ("task." .. tostring (name) .. " cannot be set", 2) end)

local function source_all (pattern, required)
  local done, paths = host.find (pattern, required)
  if not done then error (paths, 3) end
  for _, path in ipairs (paths) do
    local loaded, text = host.source (path)
    if not loaded then error (text, 0) end
  end
end

function source (pattern) source_all (pattern, true) end
function source_if_exists (pattern) source_all (pattern, false) end

function shell.source_rcpath (pattern)
  for _, directory in ipairs (lift "rc_directories" ()) do source_if_exists (directory .. "/" .. pattern) end
end

function shell.getopt_with_version (name)
  local value = options[name]
  if type (value) ~= "string" then return value end
  local plain, version = value:match ("^([^@]*)@(.+)$")
  return plain or value, version
end

function shell.source_rcpath_option (name)
  local value, version = shell.getopt_with_version (name)
  if type (value) ~= "string" or value == "none" then return end
  shell.source_rcpath (name .. "/" .. value .. ".lua")
  if version then shell.source_rcpath (name .. "/" .. value .. "@" .. version .. ".lua") end
end

function shell.prepend_path (name, path)
  local present = shell.getenv (name)
  if not present or present == "" then return shell.setenv (name, path) end
  for part in present:gmatch ("[^:]+") do
    if part == path then return end
  end
  shell.setenv (name, path .. ":" .. present)
end

function shell.env_strip (...)
  for name in pairs (shell.getenv ()) do
    for _, pattern in ipairs { ... } do
      if name:match (pattern) then shell.unsetenv (name) end
    end
  end
end

coprocess = {}

function coprocess.define (spec)
  if type (spec) ~= "table" or not spec.name then error ("coprocess.define needs a table with a name", 2) end
  local asked = options[spec.name]
  if asked == nil or asked == false then return end
  local defined = {}
  for key, value in pairs (spec) do
    if key ~= "name" then defined[key] = value end
  end
  for key, value in pairs (type (asked) == "table" and asked or {}) do defined[key] = value end
  local all = options.coprocess or {}
  all[spec.name] = defined
  options.coprocess = all
end
