-- The table `flux` of `flux lua`: handles over `host`, whose functions give true and a value, or false and a text.

local host = ...

local function method (name)
  local call = host[name]
  return function (self, ...)
    local done, value = call (self.id, ...)
    if done then return value end
    error (value, 2)
  end
end

local kvs_methods = {}
for _, name in ipairs { "get", "put", "unlink", "mkdir", "commit", "dir", "exists" } do
  kvs_methods[name] = method ("kvs_" .. name)
end

local methods = {}
for _, name in ipairs { "rpc", "getattr", "setattr", "subscribe", "unsubscribe", "recv_event", "publish", "log", "close" } do
  methods[name] = method (name)
end

flux = {}

function flux.open (uri)
  local done, handle = host.open (uri)
  if not done then error (handle, 2) end
  handle.kvs = setmetatable ({ id = handle.id }, { __index = kvs_methods })
  return setmetatable (handle, { __index = methods })
end
