"""An instance ends also when a module that somebody is removing does not stop."""

from __future__ import annotations

from pathlib import Path

from flux.testing import Instance, wait_for

STUBBORN = """
import asyncio
from pathlib import Path
from flux.module import Module

class Stubborn(Module):
    name = "stubborn"

    async def stop(self):
        Path({path!r}).touch()
        await asyncio.Event().wait()
"""


def test_an_instance_ends_while_a_module_is_being_removed(tmp_path: Path) -> None:
    module, asked = tmp_path / "stubborn.py", tmp_path / "asked"
    module.write_text(STUBBORN.format(path=str(asked)))
    with Instance(1) as running:
        assert running.run("flux", "module", "load", str(module)).returncode == 0
        removal = running.handle().rpc("module.remove", {"name": "stubborn"})
        wait_for(asked.exists, what="the removal under way")
        assert not removal.is_ready()
        assert running.stop() == 0
