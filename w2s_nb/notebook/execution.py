"""Runs one notebook as papermill does; whatever can be refused is refused before a kernel starts.

Importing this file loads neither papermill nor torch, so that a refusal takes a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..common import yaml_text
from ..common.paths import checkout, runs_folder, short_path
from ..common.store import address
from ..data.load import load_task
from .defaults import fill
from .parameters import check, tasks_and_sizes
from .source import check_types, defaults_of, kind_of_tasks, notebook_path, own_defaults

FAILED, DIED = 1, 138  # exit codes, as papermill has them


class NotebookFailed(Exception):
    """A notebook that did not run to its end; the message is one line.

    Attributes:
        code: the exit code.
    """

    def __init__(self, message: str, code: int = FAILED):
        super().__init__(message)
        self.code = code


def run_notebook(
    notebook: str,
    output: str | None = None,
    parameters: dict | None = None,
    *,
    cwd: str | None = None,
    kernel: str | None = None,
    log_output: bool = False,
) -> Path:
    """Runs a notebook with these parameters, and writes it with its outputs.

    Args:
        notebook: a name in `notebooks/`, or a path.
        output: path of the executed notebook; `{name}` stands for a parameter that is given. None
            takes a name made of notebook and parameters in `papermill_runs/notebooks`.
        parameters: {name: value} that replace the notebook's defaults.
        cwd: folder to run in; None takes the current one.
        kernel: name of a Jupyter kernel; None takes the one that the notebook names.
        log_output: print what the cells print.
    Returns:
        the path of the executed notebook.
    Raises:
        UnknownName, ValueError, TypeError, OSError: a name, parameter or path that is refused.
        ModelUnavailable: a model's weights cannot be had here.
        NotebookFailed: a cell raised, or the kernel died; the notebook has the traceback.
    """
    path = notebook_path(notebook)
    parameters = parameters or {}
    target = None if output is None else _output_path(output, parameters)
    if cwd is not None and not Path(cwd).is_dir():
        raise NotADirectoryError(f"cwd {cwd!r} is no folder")
    with contextlib.chdir(cwd or "."):
        _check_run(path, parameters)
    target = target or _default_output(path, parameters)
    _execute(path, target, parameters, cwd=cwd, kernel=kernel, log_output=log_output)
    return target


def _check_run(path: Path, parameters: dict) -> None:
    """Refuses parameters that a notebook does not take; the values of the kit's own are checked."""
    is_own = path.parent == (checkout() or Path.cwd()) / "notebooks"
    if is_own or parameters:
        defaults = defaults_of(path)
        check_types(path.stem, parameters, defaults)
        if is_own:
            everything = defaults | parameters
            kind = kind_of_tasks(path)
            check(path.stem, everything, **kind)
            everything, _ = fill(everything, own_defaults(path), answers=kind.get("answers", False))
            check(path.stem, everything, **kind, weights=False)
            for task, sizes in tasks_and_sizes(everything):
                load_task(task, **dict(sizes))  # refuses sizes that it does not have


def collect_parameters(
    files: Iterable[str] = (),
    texts: Iterable[str] = (),
    named: Iterable[tuple[str, str]] = (),
    raw: Iterable[tuple[str, str]] = (),
) -> dict:
    """Returns parameters as papermill reads them from its options, of which later ones win.

    Args:
        files: YAML files (-f).
        texts: YAML (-y).
        named: (name, value) that may be a number, True, False or None (-p).
        raw: (name, value) that is a text (-r).
    Raises:
        FileNotFoundError, ValueError, TypeError: what is no file, no YAML, or no mapping.
    """
    parameters: dict = {}
    for file in files:
        parameters |= _mapping(yaml_text.read(Path(file).expanduser(), "-f"), file)
    for text in texts:
        parameters |= _mapping(yaml_text.parse(text, "-y"), "-y")
    parameters |= {name: _value(text) for name, text in named}
    return parameters | dict(raw)


def _mapping(content: object, name: str) -> dict:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise TypeError(
            f"{name} is a {type(content).__name__}; expected parameters with values, such as "
            f"seeds: 3"
        )
    return content


def _value(text: str) -> object:
    """Returns the value that a text on the command line means to papermill."""
    constants = {"True": True, "False": False, "None": None}
    if text in constants:
        return constants[text]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _default_output(path: Path, parameters: dict) -> Path:
    """Returns where a notebook with these parameters is written, and makes the folder."""
    name = f"{path.stem}-{address(parameters)[:8]}" if parameters else path.stem
    target = runs_folder() / "notebooks" / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _output_path(output: str, parameters: dict) -> Path:
    """Returns the path that a user names, with parameters put in."""
    try:
        target = Path(output.format(**parameters)).expanduser().absolute()
    except (KeyError, IndexError, ValueError, AttributeError):
        raise ValueError(
            f"output {output!r} has a brace; expected {{name}} of a parameter that is given: "
            f"{', '.join(parameters) or 'none is'}"
        ) from None
    if target.suffix != ".ipynb":
        raise ValueError(f"output {output!r} is no .ipynb; a parameter is given by -p NAME VALUE")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"output {output!r}: there is no folder {target.parent}")
    return target


def _execute(
    path: Path,
    target: Path,
    parameters: dict,
    *,
    cwd: str | None,
    kernel: str | None,
    log_output: bool,
) -> None:
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # as papermill's command does
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    said: list[str] = []
    try:
        with _errors_of_the_kernel(said):
            if log_output:
                logging.basicConfig(level="INFO", format="%(message)s")
            papermill.execute_notebook(
                _literal_braces(path),
                _literal_braces(target),
                parameters=parameters,
                kernel_name=kernel,
                cwd=cwd,
                progress_bar=sys.stderr.isatty() and not log_output,
                log_output=log_output,
                autosave_cell_every=30,
                start_timeout=120,
            )
    except PapermillExecutionError as error:
        message = f"{error.ename}: {_first_line(error.evalue)}"
        where = f"In [{error.exec_count}], traceback in {short_path(target)}"
        raise NotebookFailed(f"{message} ({where})") from error
    except DeadKernelError as error:
        why = said[-1] if said else "it said nothing, as when memory is out"
        where = f"the cells before are in {short_path(target)}"
        raise NotebookFailed(f"the kernel died: {why} ({where})", DIED) from error
    except Exception as error:  # no kernel of that name, a disk that is full
        raise NotebookFailed(f"{type(error).__name__}: {_first_line(str(error))}") from error


@contextlib.contextmanager
def _errors_of_the_kernel(said: list[str]) -> Iterator[None]:
    """Collects the lines that a kernel prints as errors; those of this process are still shown."""
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as log:
        try:
            os.dup2(log.fileno(), 2)
            with open(os.dup(terminal), "w") as own, contextlib.redirect_stderr(own):
                yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines()
            said += [line for line in lines if line and not line.startswith("[IPKernelApp]")]


def _literal_braces(path: Path) -> str:
    """Returns a path as papermill takes it, for which braces stand for parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
