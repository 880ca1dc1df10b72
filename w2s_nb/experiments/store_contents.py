"""Lists what the store holds, by kind and size, and what no fit of today's code uses of it."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common import store
from ..common.device import computing_versions
from ..common.files import is_idle, remove
from ..common.paths import cache, home, short_path
from ..common.registry import LOSSES
from ..inputs import activations, tokens
from ..losses import code as code_of_loss
from ..prompting import prompt
from ..training import answers, job, language_model
from . import no_supervisor

KINDS = ("fits", "weights of fits", "activations", "tokens", "unfinished files", "the rest")
EARLIER = "of other code, or of other versions of packages"
NO_FIT = "of models that no fit here is of"
DAMAGED = "damaged"
KILLED = "left by killed processes"
MODELS_SHOWN = 10


@dataclass(frozen=True)
class Item:
    """A file or folder in the store.

    Attributes:
        kind: one of `KINDS`.
        size: bytes of its files.
        unused: why no fit of today's code uses it; "" where one may.
        model: whose activations they are, "" for other things.
    """

    kind: str
    path: Path
    size: int
    unused: str = ""
    model: str = ""


def list_store() -> list[Item]:
    """Lists everything in the store."""
    fits = _Fits()
    items = [*_fit_items(fits), *_activation_items(fits), *_token_items(), *_unfinished_items()]
    listed = {item.path for item in items}
    known = ("fits", "activations", "tokens", "ray", "trained")
    rest = (path for path in _children(home()) if path.name not in known)
    items += [Item("the rest", path, _size(path)) for path in rest if path not in listed]
    return items


def unused_items(items: list[Item], fits: bool = False) -> list[Item]:
    """Returns what may be removed.

    What was written within the last day is not, since a run may be about to use it.

    Args:
        fits: fits and their weights too; `w2s.results` lists them whatever code they are of.
    """
    kinds = KINDS if fits else KINDS[2:]
    unused = (item for item in items if item.unused and item.kind in kinds)
    return [item for item in unused if is_idle(item.path)]


def describe(items: list[Item]) -> str:
    """Returns the store's contents by kind and by model, and the size of the cache, as text."""
    lines = [
        f"store {short_path(home())}: {show_size(sum(item.size for item in items))}",
        f"  {'':<18}{'number':>8}{'size':>10}   no fit of today's code uses",
    ]
    for kind in KINDS:
        of_kind = [item for item in items if item.kind == kind]
        reasons = ", ".join(summarize([item for item in of_kind if item.unused]))
        total = show_size(sum(item.size for item in of_kind))
        lines.append(f"  {kind:<18}{len(of_kind):>8}{total:>10}   {reasons or '-'}")
    by_model: dict[str, int] = defaultdict(int)
    for item in items:
        if item.kind == "activations":
            by_model[item.model] += item.size
    if by_model:
        lines.append("activations by model:")
    largest = sorted(by_model.items(), key=lambda model: -model[1])[:MODELS_SHOWN]
    lines += [f"  {show_size(size):>10}   {model}" for model, size in largest]
    if len(by_model) > MODELS_SHOWN:
        lines.append(f"  and {len(by_model) - MODELS_SHOWN} more models")
    size = show_size(_size(cache()))
    lines.append(f"cache {short_path(cache())}: {size} (embedded models, texts and puzzles)")
    return "\n".join(lines)


def summarize(items: list[Item]) -> list[str]:
    """Returns a phrase with number and size for each reason why items are unused."""
    of_reason = defaultdict(list)
    for item in items:
        of_reason[item.unused].append(item.size)
    return [f"{len(s)} ({show_size(sum(s))}) {reason}" for reason, s in of_reason.items()]


def show_size(n: float) -> str:
    """Returns a number of bytes with three digits and its unit.

    >>> show_size(0), show_size(1234), show_size(2.5e9)
    ('0 B', '1.23 kB', '2.5 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n < 999.5:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def prune(items: list[Item], fits: bool) -> str:
    """Asks whether to remove what no fit of today's code uses, does so, and says what was done.

    Args:
        items: of `list_store`.
        fits: remove fits and their weights too.
    """
    unwanted = unused_items(items, fits)
    if not unwanted:
        return "nothing to remove; what was written within the last day stays"
    print("End what other versions of the kit, or of packages, run on this store first.")
    for kind in KINDS:
        for phrase in summarize([item for item in unwanted if item.kind == kind]):
            print(f"  {kind}: {phrase}")
    size = show_size(sum(item.size for item in unwanted))
    try:
        answer = input(f"remove {size}? [y/N] ")
    except EOFError:  # nobody is there to answer
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        return "nothing removed"
    for item in unwanted:
        remove(item.path)
    left = [item for item in unwanted if os.path.lexists(item.path)]
    if left:
        return f"{len(left)} of {len(unwanted)} could not be removed, such as {left[0].path}"
    return f"removed {size}"


class _Fits:
    """The records in the store, and which of them today's code would find or train on.

    Attributes:
        records: {address: record, or None where it is damaged}.
        used: addresses of the fits of today's code, of those whose labels they were trained on, and
            of the finetuned models that they start from.
        models: {digest of a model's weights: its name}.
    """

    def __init__(self) -> None:
        self.records = {address: store.record(address) for address in store.addresses()}
        whole = {address: record for address, record in self.records.items() if record}
        self.used: set[str] = set()
        self.models: dict[str, str] = {}
        self._digests: set[tuple[str, str]] = set()
        waiting = [address for address, record in whole.items() if _is_of_today(record)]
        while waiting:
            address = waiting.pop()
            if address not in whole or address in self.used:
                continue
            self.used.add(address)
            config = _part(whole[address], "config")
            self._digests.add((str(config.get("model")), str(config.get("precision"))))
            waiting.append(str(config.get("model")))
            waiting.append(str(_part(whole[address], "summary").get("labels_address")))
        for address, record in whole.items():
            name = str(_part(record, "summary").get("model"))
            self.models.setdefault(
                str(_part(record, "config").get("model")), name.partition("@")[0]
            )
            self.models[address] = f"fit:{address}"

    def use(self, digest: str, precision: str) -> bool:
        """Returns whether a fit in use is of a model, or is the model."""
        return (digest, precision) in self._digests or digest in self.used


def _is_of_today(record: dict) -> bool:
    """Returns whether a call of today's code could find a fit, as far as its record tells."""
    config = _part(record, "config")
    code = config.get("code")
    if config.get("versions") != computing_versions():
        return False
    if not isinstance(code, list):
        known = (answers.code(), language_model.code(), prompt.code(), no_supervisor.code())
        return code in known
    loss = str(config.get("loss"))
    # a loss that is registered elsewhere cannot be compared
    of_loss = [code_of_loss(loss)] if loss in LOSSES else code[1:]
    return code == [job.code() + tokens.code(), *of_loss]


def _part(record: dict, name: str) -> dict:
    part = record.get(name)
    return part if isinstance(part, dict) else {}


def _fit_items(fits: _Fits) -> Iterator[Item]:
    for address, record in fits.records.items():
        path = store.folder(address)
        unused = ""
        if address not in fits.used:
            unused = EARLIER if record else DAMAGED
        weights = path / store.WEIGHTS
        of_weights = _size(weights)
        yield Item("fits", path, _size(path) - of_weights, unused)
        if of_weights:
            yield Item("weights of fits", weights, of_weights, unused)


def _activation_items(fits: _Fits) -> Iterator[Item]:
    for path in _children(home() / "activations"):
        *_, digest, precision, code = ("", "", *path.name.split("-"))
        unused = ""
        if code != activations.code():
            unused = EARLIER
        elif not fits.use(digest, precision):
            unused = NO_FIT
        model = fits.models.get(digest, f"a model without a fit here ({digest})")
        yield Item("activations", path, _size(path), unused, model)


def _token_items() -> Iterator[Item]:
    for path in _children(home() / "tokens"):
        unused = "" if path.name.endswith(f"-{tokens.version()}") else EARLIER
        yield Item("tokens", path, _size(path), unused)


def _unfinished_items() -> Iterator[Item]:
    """Lists what processes are writing, and what killed ones left."""
    folders = [home() / name for name in ("ray", "trained")]
    unfinished = [*home().rglob(".*.part"), *(path for each in folders for path in _children(each))]
    for path in unfinished:
        if not any(parent.suffix == ".part" for parent in path.parents):
            yield Item("unfinished files", path, _size(path), KILLED if is_idle(path) else "")


def _children(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*"))


def _size(path: Path) -> int:
    """Returns the bytes of a file or of all files in a folder, without unfinished ones in it."""
    if path.is_file():
        return path.lstat().st_size
    size = 0
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.endswith(".part")]
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                size += 0 if name.endswith(".part") else os.lstat(Path(folder, name)).st_size
    return size
