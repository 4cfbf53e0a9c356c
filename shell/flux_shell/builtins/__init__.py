"""The shell's own plugins, one file each; names and order: `flux_shell.stack.BUILTINS`."""
