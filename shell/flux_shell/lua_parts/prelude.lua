-- What an initrc sees: tables of Lua functions over `host`, whose functions give true and a value, or false and a text.

local host, checker = ...

-- A function of the host's, as scripts know it and with what it takes: "NAME KIND", kinds as in arguments.lua.
local function lift (name, what, ...)
  local call, check = host[name], checker (what or name, ...)
  return function (...)
    local done, value = call (check (...))
    if done then return value end
    error (value, 2)
  end
end

local function table_with (functions, get, set)
  return setmetatable (functions, { __index = get, __newindex = set, __metatable = false })
end

plugin = table_with (
  { load = lift ("load", "plugin.load", "FILE any"), register = lift ("register", "plugin.register", "PLUGIN any") },
  lift ("plugin_get", "plugin", "TABLE any", "NAME any"),
  lift ("plugin_set", "plugin", "TABLE any", "NAME any", "VALUE any"))

local options = setmetatable ({}, {
  __index = lift ("option_get", "shell.options", "TABLE any", "NAME any"),
  __newindex = lift ("option_set", "shell.options", "TABLE any", "NAME any", "VALUE any"),
  __pairs = function () return next, lift "options_copy" (), nil end,
  __metatable = false,
})

local facts = { info = lift "info", rankinfo = lift "rankinfo", rcpath = lift "rcpath" }

local function environment (prefix, what)
  return lift (prefix .. "getenv", what .. ".getenv", "NAME string?"),
    lift (prefix .. "setenv", what .. ".setenv", "NAME string", "VALUE text?", "OVERWRITE any"),
    lift (prefix .. "unsetenv", what .. ".unsetenv", "NAME string")
end

local getenv, setenv, unsetenv = environment ("", "shell")
local task_calls = {}
task_calls.getenv, task_calls.setenv, task_calls.unsetenv = environment ("task_", "task")

shell = table_with ({
  log = lift ("log", "shell.log", "TEXT shown"),
  debug = lift ("debug", "shell.debug", "TEXT shown"),
  log_error = lift ("log_error", "shell.log_error", "TEXT shown"),
  die = lift ("die", "shell.die", "TEXT shown"),
  getenv = getenv, setenv = setenv, unsetenv = unsetenv,
  get_rankinfo = lift ("rankinfo", "shell.get_rankinfo", "RANK integer?"),
  options = options,
}, function (_, name) if facts[name] then return facts[name] () end end,
function (self, name, value)
  if facts[name] then error ("shell." .. name .. " cannot be set", 2) end
  rawset (self, name, value)
end)

local task_info = lift "task_info"

task = table_with ({}, function (_, name)
  local done, text = host.need_task (name)
  if not done then error (text, 2) end
  if name == "info" then return task_info () end
  return task_calls[name]
end, function (_, name) error ("task." .. tostring (name) .. " cannot be set", 2) end)

-- level: whose error it is, as for error () called here
local function source_all (pattern, required, level)
  local done, paths = host.find (pattern, required)
  if not done then error (paths, level) end
  for _, path in ipairs (paths) do
    local loaded, text = host.source (path)
    if not loaded then error (text, 0) end
    if text then error (text, level) end
  end
end

-- Makes a function of those below one that checks its arguments; it adds no level.
local function takes (what, ...)
  local check = checker (what, ...)
  return function (call)
    return function (...) return call (check (...)) end
  end
end

source = takes ("source", "GLOB string") (function (pattern) source_all (pattern, true, 3) end)
source_if_exists = takes ("source_if_exists", "GLOB string") (function (pattern) source_all (pattern, false, 3) end)

local function source_rcpath (pattern, level)
  for _, directory in ipairs (lift "rc_directories" ()) do
    source_all (directory .. "/" .. pattern, false, level + 1)
  end
end

shell.source_rcpath = takes ("shell.source_rcpath", "GLOB string") (function (pattern) source_rcpath (pattern, 3) end)

local function getopt_with_version (name)
  local value = options[name]
  if type (value) ~= "string" then return value end
  local plain, version = value:match ("^([^@]*)@(.+)$")
  return plain or value, version
end

shell.getopt_with_version = takes ("shell.getopt_with_version", "NAME string") (getopt_with_version)

shell.source_rcpath_option = takes ("shell.source_rcpath_option", "NAME string") (function (name)
  local value, version = getopt_with_version (name)
  if type (value) ~= "string" or value == "none" then return end
  source_rcpath (name .. "/" .. value .. ".lua", 3)
  if version then source_rcpath (name .. "/" .. value .. "@" .. version .. ".lua", 3) end
end)

shell.prepend_path = takes ("shell.prepend_path", "NAME string", "DIRECTORY string") (function (name, path)
  local present = getenv (name)
  if not present or present == "" then return setenv (name, path) end
  for part in present:gmatch ("[^:]+") do
    if part == path then return end
  end
  setenv (name, path .. ":" .. present)
end)

function shell.env_strip (...)
  local patterns = { ... }
  for _, pattern in ipairs (patterns) do
    if type (pattern) ~= "string" then error ("shell.env_strip: PATTERN must be a string", 2) end
  end
  for name in pairs (getenv ()) do
    for _, pattern in ipairs (patterns) do
      if name:match (pattern) then unsetenv (name) end
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
