"""Version 1 jobspecs as commands make them: flux-submit(1), flux-alloc(1), flux-batch(1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

    from flux.job.batch_config import BatchConfig
    from flux.job.Jobspec import JobspecV1

__all__ = ["allocated", "batched", "configuration", "set_basic_options", "submitted"]

_PROPERTIES = "bank cwd duration environment name queue stdin stdout stderr unbuffered".split()
_STREAMS = {"input": "stdin", "output": "stdout", "error": "stderr"}
_SHELL_OPTIONS = {"env_expand": "env-expand", "rlimits": "rlimit"}
_BASIC = ("name", "queue", "bank", "cwd", "output", "error", "input", "label_io", "unbuffered")
_IN_KVS = ("none", "kvs")


def set_basic_options(jobspec: JobspecV1, options: Mapping[str, Any]) -> None:
    """Set what from_command() takes as keyword arguments. TypeError for one that is not known."""
    known = {*_PROPERTIES, *_STREAMS, *_SHELL_OPTIONS, "label_io"}
    for option, value in options.items():
        if option not in known:
            raise TypeError(f"unknown option '{option}', expected one of {', '.join(sorted(known))}")
        if value is None or option == "label_io" or (option in _STREAMS and value in _IN_KVS):
            continue
        if option in _SHELL_OPTIONS:
            jobspec.setattr_shell_option(_SHELL_OPTIONS[option], dict(value))
        elif option != "unbuffered" or value:
            setattr(jobspec, _STREAMS.get(option, option), value)
    if options.get("label_io"):
        _label(jobspec)


def _label(jobspec: JobspecV1) -> None:
    for stream in ("stdout", "stderr"):
        if getattr(jobspec, stream) is not None:
            jobspec.setattr_shell_option(f"output.{stream}.label", True)


def submitted(cls: type[JobspecV1], command: list[str], options: Mapping[str, Any]) -> JobspecV1:
    """What `flux submit` makes."""
    args = _gathered("submit", options)
    sizes = (args.ntasks, args.cores_per_task, args.gpus_per_task, args.nodes, args.exclusive)
    return _with_options(cls.from_command(command, *sizes, **_basic(args)), args)


def allocated(cls: type[JobspecV1], options: Mapping[str, Any]) -> JobspecV1:
    """What `flux alloc` makes. ValueError without a number of slots or nodes."""
    args = _gathered("alloc", options)
    if args.nslots is None and args.nodes is None:
        raise ValueError("the number of slots is needed: nslots or nodes")
    opts = [*(args.broker_opts or ()), *(["-Sbroker.rc2_none=1"] if args.bg else ())]
    jobspec = cls.from_nest_command([], *_slots(args), opts, args.exclusive, args.conf, **_basic(args))
    if args.bg:
        jobspec.setattr_shell_option("pty.capture", 1)
    return _with_options(jobspec, args)


def batched(
    cls: type[JobspecV1],
    script: str | os.PathLike[str] | None,
    content: str | None,
    wrap: bool,
    options: Mapping[str, Any],
) -> JobspecV1:
    """What `flux batch` makes. TypeError unless there is either a script or its content."""
    if (script is None) == (content is None):
        raise TypeError("expected either the path of a script or its content")
    args = _gathered("batch", {"output": "flux-{{id}}.out", **options})
    name = args.name or ("batch" if script is None else Path(script).name)
    text = Path(script).read_text(encoding="utf-8") if script is not None else content or ""
    if wrap and not text.startswith("#!"):
        text = f"#!/bin/sh\n{text}"
    if args.nslots is None and args.nodes is None:
        args.nslots = 1
    basic = {**_basic(args), "name": name}
    sizes = (*_slots(args), args.broker_opts, args.exclusive, args.conf)
    return _with_options(cls.from_batch_command(text, name, None, *sizes, **basic), args)


def _gathered(prog: str, options: Mapping[str, Any]) -> Namespace:
    from flux.cli.apply import gathered

    given = {name: value for name, value in options.items() if value is not None}
    return gathered(prog, {**dict.fromkeys((*options, *_BASIC)), "env": [], "rlimit": [], "cwd": os.getcwd(), **given})


def _basic(args: Namespace) -> dict[str, Any]:
    """The environment is set later, by its rules."""
    return {"environment": {}, **{name: getattr(args, name) for name in _BASIC}}


def _slots(args: Namespace) -> tuple[int, int, int | None, int | None]:
    """Slots, cores, GPUs and nodes; nodes alone are whole ones."""
    if args.nslots is None:
        args.nslots, args.exclusive = args.nodes, True
    return args.nslots, args.cores_per_slot, args.gpus_per_slot, args.nodes


def _with_options(jobspec: JobspecV1, args: Namespace) -> JobspecV1:
    from flux.cli.apply import apply_options

    apply_options(jobspec, args)
    return jobspec


def configuration(conf: Mapping[str, Any] | BatchConfig | str) -> dict[str, Any]:
    """The configuration of an instance, however it is given."""
    from flux.job.batch_config import normalize_conf

    return normalize_conf(conf) or {}
