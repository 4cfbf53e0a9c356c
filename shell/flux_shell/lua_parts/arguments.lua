-- Gives a function that makes checks of arguments, of the function's name and for each argument "NAME KIND", with "?"
-- after a kind that may be nil. A check gives as many values as it has kinds; its error is that of the caller's caller.

local function described (value)
  if type (value) == "string" and #value < 40 and utf8.len (value) then return '"' .. value .. '"' end
  if type (value) == "number" or type (value) == "boolean" or value == nil then return tostring (value) end
  return "a " .. type (value)
end

local function as_text (value)
  local kind, meta = type (value), getmetatable (value)
  local has_text = kind == "table" and type (meta) == "table" and meta.__tostring
  if has_text or kind == "string" or kind == "number" or kind == "boolean" then return tostring (value) end
end

local kinds = {
  any = { "a value", function (value) return value end },
  value = { "a string, a number, a boolean or a table", function (value)
    if type (value) ~= "function" then return value end
  end },
  string = { "a string", function (value) return type (value) == "string" and value or nil end },
  integer = { "an integer", function (value) return type (value) == "number" and math.tointeger (value) or nil end },
  table = { "a table", function (value) return type (value) == "table" and value or nil end },
  text = { "a string, a number or a boolean", as_text },
  shown = { "a string, a number or a boolean", function (value) return value == nil and "nil" or as_text (value) end },
}

local function checked (what, name, kind, value)
  local plain = kind:match "%a+"
  local optional = plain == "any" or kind ~= plain
  local converted = kinds[plain][2] (value)
  if converted == nil and not (optional and value == nil) then
    error (("%s: %s must be %s, not %s"):format (what, name, kinds[plain][1], described (value)), 4)
  end
  if type (converted) == "string" and not utf8.len (converted) then
    error (("%s: %s is no text in UTF-8"):format (what, name), 4)
  end
  return converted
end

return function (what, ...)
  local parameters = {}
  for i, text in ipairs { ... } do parameters[i] = { text:match "^(%S+) (%S+)$" } end
  return function (...)
    local values = { ... }
    for i, one in ipairs (parameters) do values[i] = checked (what, one[1], one[2], values[i]) end
    return table.unpack (values, 1, #parameters)
  end
end
