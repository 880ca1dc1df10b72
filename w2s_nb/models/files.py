"""Says in one line what is wrong with the files of a model, before any library reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

# what is read of a model folder, and counts in its digest
READ = (".json", ".safetensors", ".txt", ".model", ".tiktoken", ".jinja")
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTERS = "adapter_config.json"
MERGE = "merge them into the weights (peft's merge_and_unload), and save that with the tokenizer"
_TOKENIZER = re.compile(r"tokenizer\.(json|model)|spiece\.model|vocab\.(json|txt)|.*\.tiktoken")
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")


class ModelUnavailable(OSError):
    """The weights of a known model are out of reach here, or not whole; the message says what to
    do.
    """


def reason(error: BaseException, most: int = 300) -> str:
    """Returns the kind and the words of another library's error, in one line."""
    words = " ".join(str(error).split())[:most]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def fault(file: Path) -> str:
    """Returns why a file cannot be what its name says, as the rest of a sentence; "" if it can.

    Only its beginning is read.
    """
    try:
        with open(file, "rb") as stream:
            start = stream.read(200)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not start:
        return "is empty; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return f"is a git-lfs pointer, not the file itself; run `git lfs pull` in {file.parent}"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page, not the file itself; download it again"
    if start.startswith(b"PK\x03\x04"):
        return "is a zip archive, as torch.save writes them, whatever its name says"
    return ""


def read_json(file: Path, model: str) -> dict:
    """Returns the object in a JSON file of a model.

    Args:
        model: its name, for errors.
    Raises:
        ModelUnavailable: names the file, and says what is wrong with it.
    """
    wrong = fault(file)
    content: object = None
    if not wrong:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            wrong = "is not in UTF-8"
        except json.JSONDecodeError as error:
            wrong = f"is damaged or cut short: no JSON from line {error.lineno} on"
        except RecursionError:
            wrong = "is nested too deeply"
        else:
            if not isinstance(content, dict):
                wrong = f"holds a {type(content).__name__}; expected fields with their values"
    if wrong or not isinstance(content, dict):
        raise ModelUnavailable(f"model {model}: {file} {wrong}")
    return content


def files_of_weights(folder: Path, model: str) -> list[Path]:
    """Returns the files that transformers reads the weights of a folder from, there or not.

    Raises:
        ModelUnavailable: the index of several files is none; names it.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    weight_map = read_json(folder / INDEX, model).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ModelUnavailable(
            f"model {model}: {folder / INDEX} has no weight_map, which says the file of each tensor"
        )
    return [folder / name for name in sorted(set(names))]


def require_weights(names: Iterable[str], place: str, model: str) -> None:
    """Checks by their names that files of weights are among those of a model.

    Args:
        names: of files, of a folder or a repository.
        place: that folder or repository, for errors.
    Raises:
        ModelUnavailable: there are none; says what there is instead, and what to do.
    """
    names = sorted(names)
    if ADAPTERS in names:
        raise ModelUnavailable(
            f"model {model}: {place} has adapters ({ADAPTERS}), which are not read; {MERGE}"
        )
    if WEIGHTS in names or INDEX in names:
        return
    said = f"model {model}: {place} has neither {WEIGHTS} nor {INDEX}"
    if some := [name for name in names if name.endswith(".safetensors")]:
        raise ModelUnavailable(f"{said}, but {_few(some)}; copy or download the rest as well")
    if some := [name for name in names if name.endswith(".gguf")]:
        raise ModelUnavailable(f"{said}, but {_few(some)}; name that file itself, by its path")
    if some := [name for name in names if name.endswith(_OTHER_WEIGHTS)]:
        raise ModelUnavailable(
            f"{said}, but {_few(some)}, a format that is not read; if you trust its source, "
            f"`transformers.AutoModelForCausalLM.from_pretrained({place!r})` and then its "
            f"`save_pretrained` convert it"
        )
    raise ModelUnavailable(f"{said}, so no weights; copy or download them into it")


def state_of(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Returns name, size and time of change of the files that are read, but weights."""
    state = []
    for file in sorted(folder.iterdir()):
        if file.suffix in READ and file.suffix != ".safetensors" and file.is_file():
            seen = file.stat()
            state.append((file.name, seen.st_size, seen.st_mtime_ns))
    return tuple(state)


def has_tokenizer(names: Iterable[str]) -> bool:
    """Returns whether a tokenizer's own file is among those names."""
    return any(_TOKENIZER.fullmatch(name) for name in names)


def is_downloaded(folder: Path, model: str) -> bool:
    """Returns whether weights and tokenizer of a hub model are in its folder of the cache.

    Raises:
        ModelUnavailable: as `files_of_weights`.
    """
    names = {file.name for file in folder.iterdir() if file.is_file()}
    return has_tokenizer(names) and all(file.is_file() for file in files_of_weights(folder, model))


def without_config(folder: Path) -> str:
    """Returns what a folder without `config.json` holds that a user may have meant; "" if nothing.

    It is the rest of a sentence.
    """
    config = folder / "config.json"
    if config.is_symlink():
        return f"has a config.json that links to {config.readlink()}, which is not there"
    names = sorted(file.name for file in folder.iterdir())
    if ADAPTERS in names:
        base = read_json(folder / ADAPTERS, str(folder)).get("base_model_name_or_path")
        of = f" for {base}" if base else ""
        return f"holds adapters{of} ({ADAPTERS}), which are not read; {MERGE}"
    if some := [name for name in names if name.lower().endswith(".gguf")]:
        return f"has no config.json, but {_few(some)}; name that file itself, by its path"
    inner = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
    if inner:
        some = [str(file.parent.relative_to(folder)) for file in sorted(inner)]
        return f"has no config.json, but its folder {_few(some)} has one; name that"
    return ""


def models_beside(path: Path) -> list[str]:
    """Returns the paths of model folders and GGUF files in the folder that a path is in."""
    if not path.parent.is_dir():
        return []
    beside = sorted(path.parent.iterdir())
    return [
        str(each)
        for each in beside
        if (each / "config.json").is_file() or (each.suffix.lower() == ".gguf" and each.is_file())
    ]


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
