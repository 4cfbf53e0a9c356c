"""The overlay network: a tree of brokers over ZeroMQ (RFC 3, "Implementation").

`topology` (who is whose parent) and `peers` (what is known of the children) are pure; `wire` turns messages into
frames; `upstream` and `downstream` are the two ends of a connection, on the sockets of `flux_plugins.zeromq`;
`transport` is the module that puts them together and serves `overlay.*`.
"""
