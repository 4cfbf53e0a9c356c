"""Plugins of the commands that submit jobs (flux-submit(1), PLUGINS; the guide submit-plugins).

A plugin is a class derived from `CLIPlugin`, in a file or of an installed distribution. It adds options to the
commands, changes what the command line says before it becomes a jobspec, and then the jobspec. Programs that use
`flux.job.JobspecV1.from_submit()` give the same options as keyword arguments.
"""

from __future__ import annotations

from flux.cli import plugin_files, plugin_folders, plugin_points

TYPE_CHECKING = False  # typing takes longer to import than a small command takes to run
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flux.installed import Row
    from flux.job.Jobspec import Jobspec

__all__ = ["CLIPlugin", "CLIPluginOption", "CLIPluginRegistry", "PluginArgsProxy", "registry"]


class CLIPluginOption:
    """An option that a plugin adds.

    Args:
        name: long, with its dashes. prefix: comes before it: "--gpumode" of prefix "site" is "--site-gpumode".
        kwargs: for argparse.ArgumentParser.add_argument().

    Attributes:
        name: as it stands on a command line.
        alias: what callbacks of the plugin may call it in place of `dest`: without the prefix; None with a dest of
            its own.

    Raises:
        ValueError: the name is none of a long option.
    """

    def __init__(self, name: str, prefix: str | None, **kwargs: Any) -> None:
        if not name.startswith("--"):
            raise ValueError(f"an option of a plugin is a long one, such as --{name.lstrip('-')}, not {name}")
        self.name = f"--{prefix}-{name[2:]}" if prefix else name
        self.alias = None if "dest" in kwargs else name[2:].replace("-", "_")
        self.kwargs = {"dest": self.name[2:].replace("-", "_"), **kwargs}

    @property
    def dest(self) -> str:
        """Its attribute of parsed arguments, and the keyword argument of from_submit()."""
        return str(self.kwargs["dest"])


class CLIPlugin:
    """Base of plugins; the docstring of a derived class is what `--help=OPTION` shows.

    Args:
        prog: the command that is extended: "run", "submit", "bulksubmit", "alloc" or "batch"; "validate" where the
            instance checks a jobspec (`validate` alone is called there).
        prefix: of the names of all options, so that they never clash with those of Flux; "ex" if a site names none.
        version: of the plugin, for people.

    Attributes:
        path: the file it came from, or its entry point and distribution.
    """

    def __init__(self, prog: str, prefix: str | None = "ex", version: str | None = None) -> None:
        self.prog = prog.removeprefix("flux ")
        self.prefix = prefix
        self.version = version
        self.path: str | None = None
        self.options: list[CLIPluginOption] = []

    def add_option(self, name: str, **kwargs: Any) -> None:
        """Add an option, from the constructor. `kwargs` are those of argparse.ArgumentParser.add_argument()."""
        self.options.append(CLIPluginOption(name, self.prefix, **kwargs))

    def help(self, option: CLIPluginOption) -> None:
        """Print what there is to say about an option."""
        from inspect import cleandoc

        own = type(self).__doc__
        print(cleandoc(own) if own else f"{option.name}: {option.kwargs.get('help') or 'there is no more to say'}")

    def preinit(self, args: Any) -> None:
        """Change parsed options before the jobspec is made of them. ValueError refuses them."""

    def modify_jobspec(self, args: Any, jobspec: Jobspec) -> None:
        """Change the jobspec. ValueError refuses the submission."""

    def validate(self, jobspec: Jobspec) -> None:
        """Check the jobspec, in the command and again in the instance. ValueError refuses it."""


class PluginArgsProxy:
    """Parsed options as a plugin sees them: its own without their prefix too."""

    __slots__ = ("_alias", "_args")

    def __init__(self, args: Any, alias: dict[str, str]) -> None:
        object.__setattr__(self, "_args", args)
        object.__setattr__(self, "_alias", alias)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._args, self._alias.get(name, name))

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._args, self._alias.get(name, name), value)


class CLIPluginRegistry:
    """The plugins of one command. Of two with the same option the first in the search path counts, installed ones last.

    Args:
        prog: the command, as in CLIPlugin.

    Attributes:
        plugins: list of CLIPlugin. options: list of CLIPluginOption. plugindirs: the search path.

    Raises:
        FluxError: EINVAL a file or an entry point cannot be imported.
        ValueError: a plugin cannot be made.
    """

    def __init__(self, prog: str) -> None:
        self.prog = prog
        self.plugindirs = plugin_folders()
        self.plugins: list[CLIPlugin] = []
        self.options: list[CLIPluginOption] = []
        for path in plugin_files():
            self._load(path)
        for row in plugin_points().values():
            self._load_installed(row)

    def _load(self, path: str) -> None:
        from flux.importer import import_path

        module = import_path(path)
        for name, found in list(vars(module).items()):
            is_plugin = isinstance(found, type) and issubclass(found, CLIPlugin) and found is not CLIPlugin
            if is_plugin and not name.startswith("_"):
                self._add(_guarded(path, found, self.prog), path)

    def _load_installed(self, row: Row) -> None:
        from flux.discovery import Entry, load_entry

        entry = Entry(*row)
        found, _origin = load_entry(entry)
        where = f"{entry.name} of {entry.dist} {entry.version}"
        self._add(_guarded(where, found, self.prog), where)

    def _add(self, plugin: CLIPlugin, path: str) -> None:
        plugin.path = path
        taken = {option.dest for option in self.options}
        if not any(option.dest in taken for option in plugin.options):
            self.plugins.append(plugin)
            self.options += plugin.options

    @property
    def validates(self) -> bool:
        """True when a plugin has a check of its own."""
        return any(type(plugin).validate is not CLIPlugin.validate for plugin in self.plugins)

    # -- what they say

    def print_plugins(self) -> None:
        """Print which plugins there are, and their options."""
        print("Options provided by plugins:")
        print(f"  Search path: {':'.join(self.plugindirs)}\n")
        for plugin in self.plugins:
            print(f"{type(plugin).__name__} loaded from {plugin.path}")
            for option in plugin.options:
                print(f"  {option.name:<20}  {option.kwargs.get('help') or ''}".rstrip())
            print()

    def print_help(self, name: str) -> None:
        """Print what the plugin of an option says of it. ValueError when none has it."""
        for plugin in self.plugins:
            for option in plugin.options:
                if option.name.removeprefix("--") == name.removeprefix("--"):
                    plugin.help(option)
                    return
        raise ValueError(f"no plugin provides the option {name}")

    # -- what they do

    def preinit(self, args: Any) -> None:
        """Call `preinit` of all plugins."""
        for plugin in self.plugins:
            _guarded(plugin.path, plugin.preinit, _proxy(plugin, args))

    def modify_jobspec(self, args: Any, jobspec: Jobspec) -> None:
        """Call `modify_jobspec` of all plugins."""
        for plugin in self.plugins:
            _guarded(plugin.path, plugin.modify_jobspec, _proxy(plugin, args), jobspec)

    def validate(self, jobspec: Jobspec) -> None:
        """Call `validate` of all plugins."""
        for plugin in self.plugins:
            _guarded(plugin.path, plugin.validate, jobspec)


def _proxy(plugin: CLIPlugin, args: Any) -> PluginArgsProxy:
    return PluginArgsProxy(args, {option.alias: option.dest for option in plugin.options if option.alias})


def _guarded(path: str | None, function: Callable[..., Any], *args: Any) -> Any:
    """Call a plugin. What it does not mean to refuse (ValueError) or to report (OSError) becomes a ValueError too."""
    try:
        return function(*args)
    except (ValueError, OSError):
        raise
    except Exception as exc:
        raise ValueError(f"plugin {path}: {type(exc).__name__}: {exc}") from exc


_registries: dict[tuple[Any, ...], CLIPluginRegistry] = {}


def registry(prog: str) -> CLIPluginRegistry | None:
    """The plugins of a command, loaded once by a process; None when there are none."""
    found = (*plugin_files(), *plugin_points().values())
    if not found:
        return None
    key = (prog, *found)
    if key not in _registries:
        _registries[key] = CLIPluginRegistry(prog)
    return _registries[key]
