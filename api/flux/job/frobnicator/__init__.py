"""Frobnicators: what is changed in a job when it is submitted (flux-config-ingest(5))."""

from __future__ import annotations

from flux.job.frobnicator.frobnicator import FrobnicatorPlugin, JobFrobnicator

__all__ = ["FrobnicatorPlugin", "JobFrobnicator"]
