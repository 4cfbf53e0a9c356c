"""Schedulers (RFC 27): sched-simple, first come first served, and sched-backfill. They share all but the order."""
