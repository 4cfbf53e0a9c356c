"""The overlay network: a tree of brokers over ZeroMQ (RFC 3, "Implementation").

`topology` (who is whose parent) and `peers` (what is known of the children) are pure; `wire` turns messages into
frames; `sockets`, `monitor` and `zap` drive ZeroMQ on the broker's event loop; `upstream` and `downstream`
are the two ends of a connection; `transport` is the module that puts them together and serves `overlay.*`.
"""
