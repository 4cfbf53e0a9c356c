"""The sub-commands of `flux`, one file each: `command(argv) -> int`."""
