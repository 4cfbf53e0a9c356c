"""The job shell (flux-shell(1)): life cycle, plugin stack, Lua initrc."""
