"""Jobspecs: what a job wants and runs (RFC 14, RFC 25; manual page ``flux.job.Jobspec``).

The jobspec itself is the plain dict ``jobspec.jobspec``, laid out as RFC 25 says; the classes check it when
made and give names to the attributes that programs set most.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar

from flux.job import _jobspec_build as build
from flux.job import _jobspec_check as check
from flux.job import _jobspec_forms as forms
from flux.job._jobspec_attributes import JobspecAttributes

if TYPE_CHECKING:
    from flux.job.batch_config import BatchConfig

__all__ = ["Jobspec", "JobspecV1", "validate_jobspec"]

_Self = TypeVar("_Self", bound="Jobspec")


class Jobspec(JobspecAttributes):
    """A jobspec of any version.

    resources, tasks: lists of dict as in RFC 14.  Keywords: attributes (dict), version (int).
    Raises ValueError or TypeError naming the field that is wrong.
    """

    top_level_keys: ClassVar[set[str]] = set(check.TOP_LEVEL_KEYS)

    def __init__(self, resources: Any, tasks: Any, **kwargs: Any) -> None:
        self.jobspec = {"resources": resources, "tasks": tasks, **kwargs}
        self._check()

    def _check(self) -> None:
        check.check_jobspec(self.jobspec)

    @classmethod
    def from_dict(cls: type[_Self], spec: Mapping[str, Any]) -> _Self:
        """Make one from a decoded jobspec."""
        check.check_keys(spec, "jobspec", check.TOP_LEVEL_KEYS, check.TOP_LEVEL_KEYS)
        return cls(**spec)

    @classmethod
    def from_yaml_stream(cls: type[_Self], yaml_stream: str | bytes | IO[Any]) -> _Self:
        """Make one from YAML (where PyYAML is installed) or JSON text, or an open file of it."""
        text = yaml_stream if isinstance(yaml_stream, str | bytes) else yaml_stream.read()
        return cls.from_dict(_load(text))

    @classmethod
    def from_yaml_file(cls: type[_Self], filename: str | os.PathLike[str]) -> _Self:
        """Make one from a YAML or JSON file."""
        return cls.from_yaml_stream(Path(filename).read_bytes())

    def dumps(self, **kwargs: Any) -> str:
        """Return the jobspec as JSON; ``kwargs`` go to json.dumps()."""
        return json.dumps(self.jobspec, **kwargs)

    def __repr__(self) -> str:
        rest = "".join(f", {k}={v!r}" for k, v in self.jobspec.items() if k not in ("resources", "tasks"))
        return f"{type(self).__name__}({self.resources!r}, {self.tasks!r}{rest})"

    def __str__(self) -> str:
        return self.dumps()

    def __eq__(self, other: object) -> bool:
        return self.jobspec == other.jobspec if isinstance(other, Jobspec) else NotImplemented

    # --- sections -------------------------------------------------------------------------

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources section."""
        resources: list[dict[str, Any]] = self.jobspec["resources"]
        return resources

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks section."""
        tasks: list[dict[str, Any]] = self.jobspec["tasks"]
        return tasks

    @property
    def version(self) -> int:
        """The jobspec version."""
        version: int = self.jobspec["version"]
        return version

    def resource_walk(self) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any], int]]:
        """Yield (parent, resource, count) depth first, parents first.

        parent is None at the top; count includes that of the ancestors.
        """
        return check.walk(self.resources)

    def resource_counts(self) -> dict[str, int]:
        """The total count of each resource type, e.g. ``{"slot": 4, "core": 8}``."""
        counts: dict[str, int] = {}
        for _, resource, count in self.resource_walk():
            counts[resource["type"]] = counts.get(resource["type"], 0) + count
        return counts


class JobspecV1(Jobspec):
    """A jobspec of version 1: one program, in slots of cores and GPUs (RFC 25)."""

    def __init__(self, resources: Any, tasks: Any, **kwargs: Any) -> None:
        kwargs.setdefault("version", 1)
        super().__init__(resources, tasks, **kwargs)

    def _check(self) -> None:
        super()._check()
        check.check_v1(self.jobspec)

    @classmethod
    def from_command(
        cls,
        command: Iterable[str],
        num_tasks: int = 1,
        cores_per_task: int = 1,
        gpus_per_task: int | None = None,
        num_nodes: int | None = None,
        exclusive: bool = False,
        **options: Any,
    ) -> JobspecV1:
        """A job of ``num_tasks`` copies of ``command``, over ``num_nodes`` nodes when given.

        options: duration, environment (default: the caller's), env_expand, rlimits, cwd, name, queue, bank; input,
        output, error (or stdin, stdout, stderr: paths of files), label_io, unbuffered.  apply_options() and setters do
        the rest.
        """
        resources = build.slot_resources(num_tasks, cores_per_task, gpus_per_task, num_nodes, exclusive)
        return cls._make(resources, build.task(_command(command), num_tasks, num_nodes), options)

    @classmethod
    def per_resource(
        cls,
        command: Iterable[str],
        ncores: int | None = None,
        nnodes: int | None = None,
        per_resource_type: str | None = None,
        per_resource_count: int | None = None,
        gpus_per_node: int | None = None,
        exclusive: bool = False,
        **options: Any,
    ) -> JobspecV1:
        """A job that asks for cores or nodes and runs ``per_resource_count`` tasks on each core or node.

        per_resource_type: "core" or "node".  options: as for from_command().
        """
        resources = build.per_resource_resources(ncores, nnodes, gpus_per_node, exclusive)
        jobspec = cls._make(resources, build.task(_command(command), 1, None), options)
        if per_resource_type not in ("core", "node", None):
            raise ValueError(f"per_resource_type: expected core or node, got '{per_resource_type}'")
        per_resource = {"type": per_resource_type, "count": per_resource_count}
        if per_resource_type is not None or per_resource_count is not None:
            jobspec.setattr_shell_option("per-resource", {k: v for k, v in per_resource.items() if v is not None})
        return jobspec

    @classmethod
    def from_nest_command(
        cls,
        command: Iterable[str],
        num_slots: int = 1,
        cores_per_slot: int = 1,
        gpus_per_slot: int | None = None,
        num_nodes: int | None = None,
        broker_opts: Iterable[str] | None = None,
        exclusive: bool = False,
        conf: Mapping[str, Any] | BatchConfig | str | None = None,
        **options: Any,
    ) -> JobspecV1:
        """A Flux instance whose initial program is ``command`` (may be empty), one broker per node.

        conf: configuration of the new instance, or a value for BatchConfig.  options: as for from_command().
        """
        resources = build.slot_resources(num_slots, cores_per_slot, gpus_per_slot, num_nodes, exclusive)
        broker = ["flux", "broker", *(broker_opts or ())]
        if conf is not None:
            broker.append("--config-path={{tmpdir}}/conf.json")
        task = build.task([*broker, *command], num_slots, num_nodes)
        jobspec = cls._make(resources, task | {"count": {"per_slot": 1}}, options)
        jobspec.setattr_shell_option("per-resource", {"type": "node"})
        jobspec.setattr_shell_option("mpi", "none")
        jobspec.setattr_shell_option("exit-timeout", "none")
        if conf is not None:
            jobspec.add_file("conf.json", forms.configuration(conf))
        return jobspec

    @classmethod
    def from_batch_command(
        cls,
        script: str,
        jobname: str,
        args: Iterable[str] | None = None,
        num_slots: int = 1,
        cores_per_slot: int = 1,
        gpus_per_slot: int | None = None,
        num_nodes: int | None = None,
        broker_opts: Iterable[str] | None = None,
        exclusive: bool = False,
        conf: Mapping[str, Any] | BatchConfig | str | None = None,
        **options: Any,
    ) -> JobspecV1:
        """A Flux instance that runs ``script`` (its text, starting with #!) with ``args``, then ends.

        The rest is as for from_nest_command().
        """
        if not script.startswith("#!"):
            raise ValueError(f"batch script '{jobname}' does not start with '#!'")
        jobspec = cls.from_nest_command(
            ["{{tmpdir}}/script", *(args or ())],
            num_slots,
            cores_per_slot,
            gpus_per_slot,
            num_nodes,
            broker_opts,
            exclusive,
            conf,
            **{"name": jobname, **options},
        )
        jobspec.add_file("script", script if "\n" in script else f"{script}\n", perms=0o700)
        return jobspec

    # --- what commands make -----------------------------------------------------------------

    @classmethod
    def from_submit(
        cls,
        command: Iterable[str],
        *,
        ntasks: int = 1,
        nodes: int | None = None,
        cores_per_task: int = 1,
        gpus_per_task: int | None = None,
        exclusive: bool = False,
        **options: Any,
    ) -> JobspecV1:
        """The job that ``flux submit`` makes of these options.

        options: name, queue, bank, cwd (default: the present one), output, error, input, label_io, unbuffered; all
        that apply_options() takes; and those of plugins of ``flux submit`` (see flux.cli.plugin).  The environment and
        resource limits are the caller's unless env and rlimit say otherwise.
        """
        sizes = {"ntasks": ntasks, "nodes": nodes, "cores_per_task": cores_per_task, "gpus_per_task": gpus_per_task}
        return forms.submitted(cls, _command(command), {**sizes, "exclusive": exclusive, **options})

    @classmethod
    def from_alloc(
        cls,
        *,
        nslots: int | None = None,
        nodes: int | None = None,
        cores_per_slot: int = 1,
        gpus_per_slot: int | None = None,
        exclusive: bool = False,
        broker_opts: Iterable[str] | None = None,
        conf: Mapping[str, Any] | BatchConfig | str | None = None,
        bg: bool = False,
        **options: Any,
    ) -> JobspecV1:
        """The instance that ``flux alloc`` starts with these options: nslots, or nodes alone for whole ones.

        bg: it has no initial program, as with ``--bg``.  options: as for from_submit().
        """
        sizes = {"nslots": nslots, "nodes": nodes, "cores_per_slot": cores_per_slot, "gpus_per_slot": gpus_per_slot}
        more = {"exclusive": exclusive, "broker_opts": broker_opts, "conf": conf, "bg": bg}
        return forms.allocated(cls, {**sizes, **more, **options})

    @classmethod
    def from_batch(
        cls,
        script: str | os.PathLike[str] | None = None,
        *,
        content: str | None = None,
        nslots: int | None = None,
        nodes: int | None = None,
        cores_per_slot: int = 1,
        gpus_per_slot: int | None = None,
        exclusive: bool = False,
        broker_opts: Iterable[str] | None = None,
        conf: Mapping[str, Any] | BatchConfig | str | None = None,
        wrap: bool = False,
        **options: Any,
    ) -> JobspecV1:
        """The instance that ``flux batch`` starts for the script in a file, or for one with this content.

        wrap: put ``#!/bin/sh`` before a script that names no interpreter.  options: as for from_submit(); the default
        of name is the file's, or "batch", that of output "flux-{{id}}.out".
        """
        sizes = {"nslots": nslots, "nodes": nodes, "cores_per_slot": cores_per_slot, "gpus_per_slot": gpus_per_slot}
        more = {"exclusive": exclusive, "broker_opts": broker_opts, "conf": conf}
        return forms.batched(cls, script, content, wrap, {**sizes, **more, **options})

    def apply_options(self, args: Any = None, *, prog: str | None = None, **options: Any) -> JobspecV1:
        """Put options of the commands that submit jobs into this jobspec; returns it.

        args: an object with options as attributes, which count less than keywords.
        prog: the command whose plugins are asked: "submit", "run", "alloc" or "batch".
        options: env, rlimit, dependency, requires, add_file (lists of str, each as the option of that name takes it);
        signal, taskmap (str); time_limit (seconds, or a Flux Standard Duration); shell_options, attributes (dict by
        dotted keys); options of plugins.  What is not given changes nothing; ``env=[]`` sets the caller's environment.
        Raises TypeError for an unknown option, ValueError for a value that makes no sense.
        """
        from flux.cli.apply import apply_options, gathered

        apply_options(self, gathered(prog, options, args))
        return self

    @classmethod
    def _make(cls, resources: Any, task: Any, options: dict[str, Any]) -> JobspecV1:
        jobspec = cls(resources, [task], attributes={"system": {"duration": 0}})
        if options.get("environment") is None:
            options = options | {"environment": os.environ}
        forms.set_basic_options(jobspec, options)
        return jobspec


def validate_jobspec(
    jobspec: Jobspec | str | Mapping[str, Any], require_version: int | None = None
) -> tuple[bool, Jobspec]:
    """Return (True, Jobspec object) when ``jobspec`` (an object, JSON text or a dict) is valid.

    Its version, or ``require_version``, decides how strictly.  Raises ValueError or TypeError otherwise.
    """
    spec = jobspec.jobspec if isinstance(jobspec, Jobspec) else jobspec
    if isinstance(spec, str):
        spec = json.loads(spec)
    check.check_keys(spec, "jobspec", check.TOP_LEVEL_KEYS, check.TOP_LEVEL_KEYS)
    version = spec["version"] if require_version is None else require_version
    return True, (JobspecV1 if version == 1 else Jobspec).from_dict(spec)


def _command(command: Iterable[str]) -> list[str]:
    if isinstance(command, str | bytes):
        raise TypeError(f"command: expected a list of strings, got {command!r}")
    return list(command)


def _load(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        import msgspec

        try:
            return msgspec.yaml.decode(text)
        except ImportError:
            raise ValueError("jobspec is not JSON, and reading YAML needs the package PyYAML") from None
        except msgspec.DecodeError as e:
            raise ValueError(f"jobspec is neither JSON nor YAML: {e}") from None
