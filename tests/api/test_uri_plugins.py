"""Plugins that find the URI of an instance by something else (flux-uri(1), PLUGINS)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flux.errors import FluxError
from flux.uri import FluxURIResolver

PLUGIN = """
from flux.uri import JobURI, URIResolverPlugin

class URIResolver(URIResolverPlugin):
    def describe(self):
        return "{about}"

    def resolve(self, uri):
        if uri.path == "broken":
            raise KeyError(uri.path)
        if uri.path == "none":
            raise ValueError("there is none")
        wait = "-wait" if "wait" in uri.query_dict else ""
        return JobURI(f"local:///{about}/{{uri.scheme}}/{{uri.path}}{{wait}}", remote_hostname="site1")
"""
POINTS = "[flux.resolvers]\npid = site_resolvers:URIResolver\nmine = site_resolvers:URIResolver\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plugin for "mine:", beside a distribution with one for "mine:" and "pid:"."""
    info = tmp_path / "site" / "site_resolvers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-resolvers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "site" / "site_resolvers.py").write_text(PLUGIN.format(about="installed"))
    folder = tmp_path / "resolvers"
    folder.mkdir()
    (folder / "mine.py").write_text(PLUGIN.format(about="file"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def uri(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "flux_cli.main", "uri", *words]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=120)


def test_a_command_finds_plugins_in_files_and_distributions(folder: Path) -> None:
    assert uri("mine:a/1").stdout == "local:///installed/mine/a/1\n"
    assert uri("--remote", "pid:7").stdout == "ssh://site1/installed/pid/7\n"
    path = str(folder)
    assert uri("--wait", "mine:1", FLUX_URI_RESOLVE_PLUGINPATH=path).stdout == "local:///file/mine/1-wait\n"
    assert uri("mine:1?remote&wait", FLUX_URI_RESOLVE_PLUGINPATH=path).stdout == "ssh://site1/file/mine/1-wait\n"
    shown = uri("--help", FLUX_URI_RESOLVE_PLUGINPATH=path)
    assert ("  mine:       file\n" in shown.stdout, shown.returncode) == (True, 0)
    assert "  slurm:      a Slurm job\n" in shown.stdout
    refused = uri("min:1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "flux-uri: 'min:1' is neither a URI, a job id, nor one of jobid:, pid:, slurm:, mine:\n"


def test_what_a_plugin_does_wrong_is_named(folder: Path) -> None:
    resolver = FluxURIResolver([str(folder)])
    assert resolver.plugins()["mine"] == "file"
    assert resolver.resolve("mine:x?local") == "local:///file/mine/x"
    with pytest.raises(ValueError, match="there is none"):
        resolver.resolve("mine:none")
    with pytest.raises(ValueError, match="the resolver of mine: has failed: KeyError: 'broken'"):
        resolver.resolve("mine:broken")
    with pytest.raises(NotImplementedError, match="'other:1' is neither"):
        resolver.resolve("other:1")
    (folder / "worse.py").write_text("import nosuch_module_at_all\n")
    with pytest.raises(FluxError, match=r"worse.py:1: .*nosuch_module_at_all"):
        resolver.resolve("worse:1")
    (folder / "half.py").write_text(PLUGIN.format(about="half").replace("def describe", "def description"))
    with pytest.raises(FluxError, match="class URIResolver has to define describe"):
        resolver.resolve("half:1")
