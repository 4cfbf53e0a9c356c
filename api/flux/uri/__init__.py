"""URIs of instances, and what they are found by: jobs, paths of jobs, processes (flux-uri(1), manual page flux.uri)."""

from __future__ import annotations

import os
import socket

from flux.core.connect import resolve_uri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from flux.core.handle import Flux
    from flux.job.JobID import JobID
    from flux.uri.plugin import URI, URIResolverPlugin, URIResolverURI

__all__ = [
    "SCHEMES",
    "URI",
    "FluxURIResolver",
    "JobURI",
    "URIResolverPlugin",
    "URIResolverURI",
    "UnknownScheme",
    "resolve",
]


SCHEMES = {"jobid": "a job, or a path of jobs", "pid": "a process in an instance", "slurm": "a Slurm job"}
"""What may be before the colon in what `resolve` takes where no plugin knows more."""
_LIST_PIDS = """\
scontrol listpids "$1" | tail -n +2 | while read -r pid rest; do flux uri --remote "pid:$pid" 2>/dev/null && break; done
"""


def __getattr__(name: str) -> Any:
    if name in ("URI", "URIResolverPlugin", "URIResolverURI"):  # for plugins alone
        from flux.uri import plugin

        return getattr(plugin, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


class UnknownScheme(ValueError, NotImplementedError):
    """No resolver knows a scheme."""


class JobURI(str):
    """URI of an instance of Flux, such as of one that is a job; "" for a job that is none.

    Args:
        remote_hostname: name of this host in `remote`; default as gethostname(2) says.
    """

    remote_hostname: str

    def __new__(cls, uri: object = "", remote_hostname: str | None = None) -> JobURI:
        made = super().__new__(cls, uri)
        made.remote_hostname = remote_hostname or ""
        return made

    @property
    def uri(self) -> str:
        return str(self)

    @property
    def scheme(self) -> str:
        return self.partition("://")[0]

    @property
    def local(self) -> str:
        """For programs on the host of that instance."""
        if not self.startswith("ssh://"):
            return str(self)
        return f"local:///{self.removeprefix('ssh://').partition('/')[2]}"

    @property
    def remote(self) -> str:
        """For other hosts."""
        if not self.startswith("local://"):
            return str(self)
        return f"ssh://{self.remote_hostname or socket.gethostname()}{self.removeprefix('local://')}"

    @property
    def nearest(self) -> str:
        """The same without ssh where its socket is on this host."""
        local = self.local
        return local if local and os.path.exists(local.removeprefix("local://")) else str(self)


class FluxURIResolver:
    """Finds URIs of instances (manual page flux.uri).

    Args:
        pluginpath: folders with files of resolvers, before those of flux-uri(1).
    """

    def __init__(self, pluginpath: Sequence[str] | None = None) -> None:
        self._folders = tuple(pluginpath or ())

    def resolve(self, uri: str) -> JobURI:
        """See `resolve`."""
        return resolve(uri, folders=self._folders)

    def plugins(self) -> dict[str, str]:
        """The schemes there are, and what each means. PluginError for a plugin that cannot be imported."""
        from flux.uri.plugin import find_resolver, resolver_names

        found = {name: find_resolver(name, self._folders) for name in resolver_names(self._folders)}
        return SCHEMES | {name: plugin.describe() for name, plugin in found.items() if plugin}


def resolve(target: str, wait: bool = False, folders: Sequence[str] = ()) -> JobURI:
    """The URI that a target means.

    Args:
        target: a local:// or ssh:// URI as it is; "pid:PID"; "slurm:JOBID"; "SCHEME:..." of a plugin; or a path of
            instances, with or without "jobid:" before it: ids of jobs, "." and "..", separated by "/", one in front for
            the root instance. All but URIs may end in "?local", "?remote" or "?wait".
        wait: wait until the job has a URI.
        folders: with files of resolvers, before those of flux-uri(1).

    Raises:
        ValueError: there is no such thing, or it has no URI; UnknownScheme: there is no such resolver.
        FluxError: the instance of a path cannot be reached; PluginError: a resolver cannot be imported.
    """
    scheme, colon, rest = target.partition(":")
    if rest.startswith("//"):
        return JobURI(target)
    plugin = _plugin_of(scheme, folders) if colon else None
    if plugin is None and colon and scheme not in SCHEMES:
        raise UnknownScheme(f"'{target}' is neither a URI, a job id, nor one of {_schemes(folders)}")
    path, _, query = (rest if colon else target).partition("?")
    wanted = query.split("&") if query else []
    if plugin is not None:
        uri = _of_plugin(plugin, target, wait and "wait" not in wanted)
    elif set(wanted) <= {"local", "remote", "wait"}:
        uri = JobURI(_find(scheme if colon else "jobid", path, wait or "wait" in wanted, "local" in wanted))
    else:
        _refuse(f"'{target}': what follows the question mark should be local, remote or wait")
    return JobURI(uri.remote) if "remote" in wanted else JobURI(uri.local) if "local" in wanted else uri


def _plugin_of(scheme: str, folders: Sequence[str]) -> URIResolverPlugin | None:
    from flux.uri.plugin import find_resolver

    return find_resolver(scheme, folders) if scheme.replace("-", "_").isidentifier() else None


def _of_plugin(plugin: URIResolverPlugin, target: str, wait: bool) -> JobURI:
    from flux.uri.plugin import URIResolverURI

    asked = URIResolverURI(target + ("&wait" if "?" in target else "?wait") * wait)
    try:
        found = plugin.resolve(asked)
    except (ValueError, OSError):
        raise
    except Exception as exc:
        raise ValueError(f"the resolver of {asked.scheme}: has failed: {type(exc).__name__}: {exc}") from exc
    return found if isinstance(found, JobURI) else JobURI(found)


def _schemes(folders: Sequence[str]) -> str:
    from flux.uri.plugin import resolver_names

    return ", ".join(f"{name}:" for name in dict.fromkeys([*SCHEMES, *resolver_names(folders)]))


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _open(uri: str | None) -> Flux:
    from flux.core.handle import Flux

    return Flux(uri)


def _find(scheme: str, path: str, wait: bool, local: bool) -> str:
    if scheme == "pid":
        return _of_process(path)
    if scheme == "slurm":
        return _of_slurm_job(path)
    local = local or bool(os.environ.get("FLUX_URI_RESOLVE_LOCAL"))
    uri = _root() if path.startswith("/") else None
    for part in path.strip("/").split("/"):
        if part in ("", "."):
            continue
        uri = (_parent(uri) or uri) if part == ".." else _of_job(part, uri, wait)
        if local and uri is not None:
            uri = JobURI(uri).local
    return uri or resolve_uri(None)


def _parent(uri: str | None) -> str | None:
    """URI of the instance around one; None for the root."""
    with _open(uri) as handle:
        try:
            return handle.attr_get("parent-uri")
        except FileNotFoundError:
            return None


def _root() -> str:
    uri = resolve_uri(None)
    while above := _parent(uri):
        uri = above
    return uri


def _of_process(text: str) -> str:
    if not text.isdecimal():
        _refuse(f"'{text}' is no process id")
    try:
        pids = [text, *_children(text)]
        if _is_broker(text):
            pids = pids[1:]  # its own is that of the instance around it
        found = next(filter(None, map(_variable, pids)), None)
    except OSError as exc:
        _refuse(f"process {text}: {exc.strerror}")
    if found is None:
        raise ValueError(f"process {text} has no FLUX_URI")
    return found


def _variable(pid: str) -> str | None:
    with open(f"/proc/{pid}/environ", "rb") as environ:
        for variable in environ.read().split(b"\0"):
            if variable.startswith(b"FLUX_URI="):
                return os.fsdecode(variable.removeprefix(b"FLUX_URI="))
    return None


def _is_broker(pid: str) -> bool:
    with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
        words = [os.path.basename(word) for word in cmdline.read().split(b"\0")[:4]]
    return b"flux-broker" in words or (b"flux" in words and (b"broker" in words or b"start" in words))


def _children(pid: str) -> list[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return children.read().split()


def _of_slurm_job(text: str) -> str:
    """Ask Slurm for the processes of a job on its first node, and these for FLUX_URI, over there."""
    import subprocess

    if not text.isdecimal():
        _refuse(f"'{text}' is no id of a Slurm job")
    command = ["srun", f"--jobid={text}", "--overlap", "--nodes=1", "--ntasks=1", "sh", "-c", _LIST_PIDS, "sh", text]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    except OSError as exc:
        _refuse(f"slurm:{text}: srun: {exc.strerror}")
    if not result.stdout.strip():
        _refuse(f"slurm:{text}: no process of that job has FLUX_URI")
    return result.stdout.split()[0]


def _of_job(text: str, instance: str | None, wait: bool) -> str:
    from flux.job.JobID import JobID

    try:
        jobid = JobID(text)
    except ValueError as exc:
        _refuse(str(exc))
    with _open(instance) as handle:
        try:
            if wait:
                return _awaited(handle, jobid)
            request = {"id": int(jobid), "attrs": ["annotations"]}
            job = handle.rpc("job-list.list-id", request).get()["job"]
        except FileNotFoundError:
            raise ValueError(f"{jobid.orig}: No such job") from None
    uri = job.get("annotations", {}).get("user", {}).get("uri")
    if not uri:
        _refuse(f"job {text} has no URI: it is no instance of Flux, or not yet")
    return str(uri)


def _awaited(handle: Flux, jobid: JobID) -> str:
    from flux.job.event import event_watch

    for event in event_watch(handle, jobid):
        if event.name == "memo" and "uri" in event.context:
            return str(event.context["uri"])
        if event.name == "clean":
            break
    raise ValueError(f"job {jobid.orig} has ended without a URI")
