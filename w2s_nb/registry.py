"""Names of tasks, models and losses: decorators that register, errors that list what exists."""
from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping


class UnknownName(KeyError, ValueError):
    """A name that is not registered; the message lists near and known names."""

    def __init__(self, kind: str, given: str, known):
        known = sorted(known)
        near = difflib.get_close_matches(given, known, n=5, cutoff=0.4)
        hint = f" Near: {', '.join(near)}." if near else ""
        super().__init__(f"unknown {kind} {given!r}.{hint} Known: {', '.join(known)}.")

    def __str__(self) -> str:  # KeyError would print the repr, with quotes inside quotes
        return self.args[0]


class Registry(Mapping):
    """A read-only mapping name -> object, filled by `register`.

    `name@option` is the object narrowed by its method `at`, such as the task `anthropic_hh@helpful-base`.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, object] = {}

    def register(self, name: str, entry):
        """Adds `entry`; a second registration of a name replaces the first, so a notebook cell can be run again."""
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str):
        base, at, option = str(name).partition("@")
        entry = self._entries.get(base)
        if entry is None or at and not hasattr(entry, "at"):
            raise UnknownName(self.kind, str(name), self._entries)
        return entry.at(option) if at else entry

    def __contains__(self, name) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"{self.kind}s: {', '.join(self._entries)}"


TASKS = Registry("task")
MODELS = Registry("model")
LOSSES = Registry("loss")
