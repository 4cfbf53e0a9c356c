-- The initrc of a site that has none of its own: flux-shell-initrc(5).
-- Copy it to /etc/flux/shell/initrc.lua to change what every job gets.

-- Python plugins in the directories of plugin.searchpath (FLUX_SHELL_PLUGINPATH)
plugin.load { file = "*.py" }

-- /etc/flux/shell/lua.d/*.lua (or lua.d beside a copy of this file), and *.lua on FLUX_SHELL_RC_PATH
shell.source_rcpath ("*.lua")

-- with -o mpi=NAME[@VERSION]: mpi/NAME.lua, then mpi/NAME@VERSION.lua, of the same directories
shell.source_rcpath_option ("mpi")

-- with -o userrc=FILE: the user's own
if shell.options.userrc then source (shell.options.userrc) end
