-- Gives a function that writes out what files hold back: the process may end without closing them.

local type_of, output, stdout, flush = io.type, io.output, io.stdout, getmetatable (io.stdout).__index.flush
local pack, unpack, pcall, pairs, error = table.pack, table.unpack, pcall, pairs, error
local written = setmetatable ({}, { __mode = "k" })
local function remembering (name)
  local call = io[name]
  io[name] = function (...)
    local results = pack (pcall (call, ...))
    local file = results[2]
    if not results[1] then error ((file:gsub ("'%?'", "'" .. name .. "'")), 2) end
    if file then written[file] = true end
    return unpack (results, 2, results.n)
  end
end
remembering "open"
remembering "output"
remembering "tmpfile"
return function ()
  for _, file in pairs { stdout, output () } do written[file] = true end
  for file in pairs (written) do
    if type_of (file) == "file" then flush (file) else written[file] = nil end
  end
end
