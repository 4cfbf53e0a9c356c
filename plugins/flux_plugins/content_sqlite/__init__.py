"""The content backing store over SQLite (flux-content(1), BACKING STORE)."""
