"""Handles, reactor, watchers: one protocol state machine behind two thin drivers, blocking and asyncio."""
