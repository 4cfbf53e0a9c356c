"""An instance in which an execution service without shells runs the jobs, so that tests decide what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobs_kit import Jobs

from flux.testing import Instance

COMPOSITION = """
extends = "default"
[modules.job-exec]
enabled = false
[modules.job-list]
enabled = false
[modules.fake-exec]
use = "{0}"
"""


@pytest.fixture(scope="module")
def jobs(flux_instance: Callable[..., Instance], tmp_path_factory: Any) -> Jobs:
    folder = tmp_path_factory.mktemp("composition")
    file = folder / "plugins.toml"
    file.write_text(COMPOSITION.format(Path(__file__).with_name("fake_exec.py")))
    return Jobs(flux_instance(1, args=[f"--plugins={file}"]))
