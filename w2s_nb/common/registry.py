"""Registers tasks, models and losses by name; an unknown name raises an error that lists those that
exist.
"""

from __future__ import annotations

import difflib
import html
import importlib
import importlib.util
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import plugins


class UnknownName(KeyError, ValueError):
    """A name that is not registered; the message lists near and known names."""

    def __init__(self, kind: str, name: str, known):
        known = sorted(map(str, known))
        # capitals play no part; where names differ in nothing else, the last is named
        folded = {one.casefold(): one for one in known}
        matches = difflib.get_close_matches(str(name).casefold(), folded, n=5, cutoff=0.4)
        near = [folded[match] for match in matches]
        hint = f" Near: {', '.join(near)}." if near else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")

    def __str__(self) -> str:  # KeyError would print the repr, with quotes inside quotes
        return self.args[0]


class MissingExtra(ImportError, ValueError):
    """A registered name whose wing needs a package that is not installed; the message says how to
    install it.
    """


@dataclass
class Provider:
    """A module that registers entries when it is imported.

    Attributes:
        module: its dotted name.
        names: the names that it registers; empty for the registry's own room, which is imported
            first.
        package: the package that it needs beyond the kit's own, or "".
        extra: the extra of pyproject.toml that installs that package.
    """

    module: str
    names: tuple[str, ...] = ()
    package: str = ""
    extra: str = ""
    loaded: bool = False
    loading: bool = False

    @property
    def installed(self) -> bool:
        """Tells whether the package is there."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def load(self) -> None:
        """Imports the module once; while it is being imported, it may use the registry itself."""
        if self.loaded or self.loading:
            return
        self.loading = True
        try:
            importlib.import_module(self.module)
            self.loaded = True
        finally:
            self.loading = False


class Registry(Mapping):
    """A read-only mapping name -> object, filled by `register`.

    `name@option` is the object narrowed by its method `with_option`, such as the task
    `anthropic_hh@helpful-base`. Modules that register entries are named by `provide` and imported
    when the registry is first read, so that `import w2s_nb` stays light.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
        self._entries: dict[str, Any] = {}
        self._providers: list[Provider] = []
        self._lock = threading.RLock()  # a second thread waits until a module is imported whole

    def provide(self, module: str, names: tuple[str, ...] = (), package: str = "", extra: str = ""):
        """Names a module that registers entries when it is imported; arguments as of `Provider`."""
        self._providers.append(Provider(module, names, package, extra))

    def register(self, name: str, entry):
        """Adds `entry`; a second registration of a name replaces the first, so a notebook cell can
        be run again.
        """
        self._entries[name] = entry
        return entry

    def registered(self, name: str):
        """Returns the entry of that name as far as modules are imported, or None."""
        return self._entries.get(name)

    def _load(self, name: str | None = None) -> None:
        """Imports the plug-ins of the environment, the registry's own room, and the wing that
        registers `name`; without a name, every wing.
        """
        plugins.load_from_environment()
        for provider in self._providers:
            if provider.names and name is not None and name not in provider.names:
                continue
            if provider.installed:
                self._load_one(provider)
            elif name is not None and name not in self._entries:
                raise MissingExtra(
                    f"{self.kind} {name!r} needs the package {provider.package!r}, which is not "
                    f"installed: pip install 'w2s_nb[{provider.extra}]'"
                )

    def _load_one(self, provider: Provider) -> None:
        with self._lock:
            # A name that a user registered before the wing was imported stays the user's.
            taken = {name: self._entries[name] for name in provider.names if name in self._entries}
            first_time = not provider.loaded
            provider.load()
            if first_time:
                self._entries |= taken

    def __getitem__(self, name: str):
        base, at, option = str(name).partition("@")
        self._load(base)
        entry = self._entries.get(base)
        if entry is None or (at and not hasattr(entry, "with_option")):
            raise UnknownName(self.kind, str(name), self)
        return entry.with_option(option) if at else entry

    def __contains__(self, name) -> bool:
        try:
            self._load(str(name))
        except MissingExtra:
            return False
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(list(self._entries))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def __repr__(self) -> str:
        return f"{self._plural}: {', '.join(self)}"

    def _repr_html_(self) -> str:
        names = "".join(f"<li><code>{html.escape(name)}</code></li>" for name in self)
        return f"<p><b>{len(self)} {self._plural}</b></p><ul>{names}</ul>"


TASKS = Registry("task")
MODELS = Registry("model")
LOSSES = Registry("loss")
# {name of a method: `comparisons.methods.Method`}
METHODS = Registry("method")
# {kind of encoder: `models.encoders.Family`}
ENCODERS = Registry("kind of encoder")

TASKS.provide("w2s_nb.data.tasks")
MODELS.provide("w2s_nb.models.names")
LOSSES.provide("w2s_nb.losses")
METHODS.provide("w2s_nb.comparisons.methods")
