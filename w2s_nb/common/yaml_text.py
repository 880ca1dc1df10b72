"""Reads YAML: texts, numbers, lists and mappings alone, each key once; says where it is broken."""

from __future__ import annotations

import re
from pathlib import Path

import yaml


def read(path: Path, what: str) -> object:
    """Returns what a YAML file says; None if it says nothing.

    Args:
        what: what the file is, for the messages.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no YAML; says where.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{what} {str(path)!r} is no file; expected a file of YAML")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path.name}, line {line}: not UTF-8; save the file as UTF-8") from None
    return parse(text, path.name)


def parse(text: str, name: str) -> object:
    """Returns what YAML says; None if it says nothing. A date stays a text.

    Args:
        name: of the file or option, for the messages.
    Raises:
        ValueError: it is no YAML, or has a key twice; says where.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"{name}{where}: {_reason(error)}") from None
    except yaml.reader.ReaderError as error:
        raise ValueError(
            f"{name}, character {error.position + 1}: {error.reason}; expected plain text"
        ) from None
    except RecursionError:
        raise ValueError(f"{name}: lists or mappings are nested too deeply") from None
    except (ValueError, yaml.YAMLError) as error:  # such as a number with a misplaced _
        raise ValueError(f"{name}: {str(error).splitlines()[0]}") from None


def _reason(error: yaml.MarkedYAMLError) -> str:
    """Returns what is wrong in one line, with the way out of a frequent fault."""
    reason = error.problem or "no YAML"
    if error.context and error.problem != error.context:
        reason = f"{reason} ({error.context})"
    if r"'\t'" in reason:
        reason += "; YAML is indented by spaces, not tabs"
    return " ".join(reason.split())


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key given twice, and takes a date for a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node, deep=False):
        """Returns a mapping, whose keys must be texts or numbers."""
        seen: set = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key that is no text", key_node.start_mark
                )
            # A key that `<<` brings may be given again.
            if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_NOT_DECIMAL = re.compile(r".*:.*|[-+]?0[0-9_]+")


def _number_or_text(construct):
    """Returns a constructor that takes 1:30 and 0200, in YAML 1.1 the numbers 90 and 128, for
    texts.
    """

    def construct_decimal(loader, node):
        return node.value if _NOT_DECIMAL.fullmatch(node.value) else construct(loader, node)

    return construct_decimal


_Loader.add_constructor(
    "tag:yaml.org,2002:int", _number_or_text(yaml.SafeLoader.construct_yaml_int)
)
_Loader.add_constructor(
    "tag:yaml.org,2002:float", _number_or_text(yaml.SafeLoader.construct_yaml_float)
)
