"""What transports between brokers are made of: ZeroMQ sockets on the broker's event loop, with CURVE.

`sockets` and `monitor` drive them, `curve` makes them, `zap` says who may connect, `address` where to listen. This is a
library and no plugin: the plugins that carry messages between brokers share it.
"""
