"""Validators: whether a job may be submitted (manual page ``flux.job.validator``)."""

from __future__ import annotations

from flux.job.validator.validator import JobValidator, ValidatorJobInfo, ValidatorPlugin, ValidatorResult

__all__ = ["JobValidator", "ValidatorJobInfo", "ValidatorPlugin", "ValidatorResult"]
