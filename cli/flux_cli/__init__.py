"""The flux(1) command and its sub-commands."""
