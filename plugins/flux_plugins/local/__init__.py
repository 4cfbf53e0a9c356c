"""The local connector: clients on a UNIX socket."""
