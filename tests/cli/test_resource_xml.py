"""`flux resource reload --xml`, `flux hwloc reload`, and finding an event in `flux resource eventlog`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flux.testing import Instance

GPU = '<object type="OSDev" gp_index="90" name="cuda0" subtype="CUDA" osdev_type="5"/>'


def test_an_inventory_comes_from_xml_files(tmp_path: Path) -> None:
    with Instance(2) as running:
        for rank in range(2):
            text = running.run("flux", "hwloc", "topology", f"--rank={rank}").stdout
            with_gpu = text.replace("  </object>\n</topology>", f"  {GPU}</object>\n</topology>")
            (tmp_path / f"{rank}.xml").write_text(with_gpu if rank else text)
        running.run("flux", "module", "remove", "sched-simple")
        assert (done := running.run("flux", "resource", "reload", "--xml", str(tmp_path))).returncode == 0, done.stderr
        method = "method=reload"
        waited = running.run("flux", "resource", "eventlog", "-w", "resource-define", "-m", method, "-t", "30s")
        assert (waited.returncode, "reload" in waited.stdout.splitlines()[-1]) == (0, True)
        answer = running.handle().rpc("resource.get", {}).get()
        assert [entry["children"].get("gpu") for entry in answer["R"]["execution"]["R_lite"]] == [None, "0"]
        assert (again := running.run("flux", "hwloc", "reload")).returncode == 0, again.stderr
        assert "2 Nodes" in running.run("flux", "resource", "info").stdout
        assert running.run("flux", "hwloc", "reload", str(tmp_path)).returncode == 0
        (tmp_path / "1.xml").write_text("<topology>")
        broken = running.run("flux", "resource", "reload", "--xml", str(tmp_path))
        assert (broken.returncode, "1.xml is no XML" in broken.stderr) == (1, True)


def test_events_are_chosen_and_awaited(instance: Callable[..., Instance]) -> None:
    running = instance(size=3)
    running.run("flux", "resource", "drain", "1", "for", "a", "test")
    shown = running.run("flux", "resource", "eventlog", "--include=2").stdout
    assert " drain " not in shown and " restart " in shown
    assert " drain " in running.run("flux", "resource", "eventlog", "--include=1").stdout
    late = running.run("flux", "resource", "eventlog", "-w", "drain", "-m", "idset=0", "-t", "0.1s")
    assert (late.returncode, "timed out" in late.stderr) == (1, True)
    running.run("flux", "resource", "undrain", "1")
    assert running.run("flux", "resource", "undrain", "1").returncode == 1
    assert running.run("flux", "resource", "undrain", "--force", "1").returncode == 0
    assert running.run("flux", "resource", "eventlog", "-t", "1s").returncode == 1
