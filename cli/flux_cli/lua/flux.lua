-- The table `flux` of `flux lua`: handles over `host`, whose functions give true and a value, or false and a text.

local host, checker = ...

-- what: as scripts call it; what it takes: "NAME KIND", kinds as in flux_shell/lua_parts/arguments.lua.
local function method (name, what, ...)
  local call, check = host[name], checker (what, ...)
  return function (self, ...)
    local id = type (self) == "table" and rawget (self, "id")
    if not id then error (("%s: it is called with a colon: %s (...)"):format (what, what), 2) end
    local done, value = call (id, check (...))
    if done then return value end
    error (value, 2)
  end
end

local kvs_methods = {
  get = method ("kvs_get", "kvs:get", "KEY string"),
  put = method ("kvs_put", "kvs:put", "KEY string", "VALUE value"),
  unlink = method ("kvs_unlink", "kvs:unlink", "KEY string"),
  mkdir = method ("kvs_mkdir", "kvs:mkdir", "KEY string"),
  commit = method ("kvs_commit", "kvs:commit"),
  dir = method ("kvs_dir", "kvs:dir", "KEY string?"),
  exists = method ("kvs_exists", "kvs:exists", "KEY string"),
}

local methods = {
  rpc = method ("rpc", "f:rpc", "TOPIC string", "PAYLOAD table?", "RANK integer?"),
  getattr = method ("getattr", "f:getattr", "NAME string"),
  setattr = method ("setattr", "f:setattr", "NAME string", "VALUE text"),
  subscribe = method ("subscribe", "f:subscribe", "TOPIC string"),
  unsubscribe = method ("unsubscribe", "f:unsubscribe", "TOPIC string"),
  recv_event = method ("recv_event", "f:recv_event", "TOPIC string?"),
  publish = method ("publish", "f:publish", "TOPIC string", "PAYLOAD table?"),
  log = method ("log", "f:log", "LEVEL integer", "TEXT text"),
  close = method ("close", "f:close"),
}

flux = {}

local check_uri = checker ("flux.open", "URI string?")

function flux.open (...)
  local done, handle = host.open (check_uri (...))
  if not done then error (handle, 2) end
  handle.kvs = setmetatable ({ id = handle.id }, { __index = kvs_methods })
  return setmetatable (handle, { __index = methods })
end
