"""Commands that run at a time, at an interval or after events (flux-cron(1))."""
