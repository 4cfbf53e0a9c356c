"""Every function of the shell API in C (man3 flux_shell_*) has a Python name, in the guide and in the shell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flux.hooks.shell import ShellApi, TaskApi
from flux_shell.shell import Shell
from flux_shell.task import Task

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "shell-api.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split(" | ") for line in GUIDE.splitlines() if line.startswith("| flux_")]
NAMES = """
    add_completion_ref add_event_context add_event_handler aux_get aux_set current_task err fatal get_environ get_flux
    get_hostlist get_hwloc_xml get_info get_jobspec_info get_rank_info get_taskmap getenv getopt getopt_unpack
    info_unpack jobspec_info_unpack killall log log_setlevel mustache_is_per_rank mustache_render plugstack_call raise
    raise_exit_status rank_info_unpack rank_mustache_render remove_completion_ref rpc_pack service_register setenvf
    setopt setopt_pack task_channel_subscribe task_cmd task_first task_get_info task_get_subprocess task_info_unpack
    task_mustache_render task_next task_subprocess unsetenv
""".split()


@pytest.mark.parametrize("name", NAMES)
def test_a_function_has_one_row(name: str) -> None:
    assert sum(f"flux_shell_{name}(3)" in functions for functions, _ in ROWS) == 1


def test_python_names_are_those_of_the_shell_and_of_the_contract() -> None:
    for _functions, python in ROWS:
        for owner, name in re.findall(r"\b(shell|task)\.(\w+)", python):
            contract, real = (ShellApi, Shell) if owner == "shell" else (TaskApi, Task)
            assert name in {*dir(contract), *contract.__annotations__}, name
            assert hasattr(real, name) or name in contract.__annotations__, name
