"""The simple process manager interface, version 1: how a parallel program's processes find each other (RFC 13).

flux.pmi.wire has the messages, flux.pmi.server the process manager's side, flux.pmi.client a process's side.
"""
