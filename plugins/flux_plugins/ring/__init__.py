"""The ring: a second way between brokers, for debugging, that does without the tree.

Each broker is connected to the next rank, the last one to rank 0, and passes on what is not for it; a broker that is
dead or hangs is left out. `packet` is what travels, `circle` who is next, `outbox` what the next one has not
acknowledged: all pure. `successor` and `predecessor` are the two ends of a connection; `visitor` is a client of
another rank as this rank's switch sees it; `module` puts them together and serves `ring.*`.
"""
