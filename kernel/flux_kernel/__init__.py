"""The broker kernel: switch, loader and composition. It knows nothing of jobs, keys or logs."""
