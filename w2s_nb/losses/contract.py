"""The contract of a loss: a pure function, registered under its name.

A loss takes logits (b, K) and targets (b, K) of K classes and `progress` of training in [0, 1], and
returns (b,) nats, one value per example, not averaged. Its further keyword arguments, all with
defaults, are its configuration. If a value depends on the other examples of the batch, the loss is
registered with `batchwise=True`; `b` is then the optimiser's whole batch. One registered with
`stacks=True` too takes the batches of several students at once, (s, b, K), and returns (s, b);
probes that are trained together are then faster. A loss registered with
`running_average="decay"` also gets `previous` (b, K): the running average of the student's own
predictions for these examples over earlier epochs, with the loss's argument `decay` as its rate; in
the first epoch, the targets.

`check_loss` runs a loss on made rows of the task's K classes before anything is trained, and
`values_of` checks its values at every step. tests/losses/test_losses.py asks of every loss of the
kit, for two classes and more: it begins with `check(logits, targets)`; its values are not negative
and of float32; adding a constant to all logits changes nothing; the classes are treated alike; its
defaults work. The address of a fit hashes the loss's own code and the helpers of this file, not
further functions that the loss calls.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from ..common import plugins
from ..common.registry import LOSSES
from ..common.store import address, code_version

_FIXED = ("logits", "targets", "progress", "previous")
# four rows of two classes on which a loss is tried
_LOGITS = ((1.2, -0.3), (0.1, 0.4), (-0.8, 0.9), (0.5, 0.2))
_TARGETS = ((0.9, 0.1), (0.4, 0.6), (0.3, 0.7), (0.2, 0.8))


def register_loss(
    function=None, *, batchwise: bool = False, stacks: bool = False, running_average: str = ""
):
    """Registers a loss under its function's name.

    Args:
        batchwise: the value of an example depends on the others of the batch.
        stacks: a batchwise loss also takes (s, b, K), and treats each of the s batches alone.
        running_average: for a loss that also takes `previous`, the running average of the student's
            predictions over epochs: the name of the loss's argument that is the decay of this
            average, in [0, 1). "" for any other loss.
    Raises:
        TypeError: no function with a name, or one that takes other arguments than a loss.
        ValueError: a loss with a running average lacks `previous` or the argument named; the name
            is that of a loss of the kit.

    A second registration of a name replaces the first, so that a notebook cell can be run again.
    The loss's code is part of a fit's address, with the functions and plain values of its own
    module or notebook that it uses; what it imports from elsewhere is not.
    """

    def decorate(loss):
        _check_function(loss)
        parameters = inspect.signature(loss).parameters
        if running_average and not {running_average, "previous"} <= set(parameters):
            raise ValueError(
                f"loss {loss.__name__!r} with running_average={running_average!r} must take "
                f"{running_average} and previous; it takes {', '.join(parameters)}"
            )
        _check_name(loss)
        loss.batchwise = batchwise
        loss.stacks = stacks
        loss.running_average = running_average
        return LOSSES.register(loss.__name__, loss)

    return decorate if function is None else decorate(function)


def _check_function(loss) -> None:
    """Refuses what has no name of its own, or takes other arguments than a loss."""
    name = getattr(loss, "__name__", "")
    if not callable(loss) or not name.isidentifier():
        given = " ".join(repr(loss).split())
        raise TypeError(f"register_loss was given {given:.80}; expected a function, by `def`")
    parameters = inspect.signature(loss).parameters
    lacking = [needed for needed in _FIXED[:3] if needed not in parameters]
    no_default = [
        parameter.name
        for parameter in parameters.values()
        if parameter.name not in _FIXED and parameter.default is parameter.empty
    ]
    if lacking or no_default:
        fault = f"lacks {lacking[0]}" if lacking else f"has no default for {no_default[0]}"
        raise TypeError(
            f"loss {name!r} takes {', '.join(parameters) or 'nothing'}, and {fault}; expected "
            f"(logits, targets, *, progress) and arguments with defaults"
        )


def _check_name(loss: Callable) -> None:
    """Refuses a name that would mean another loss, of which others may be made."""
    kit = __name__.partition(".")[0] + "."
    taken = LOSSES.registered(loss.__name__)
    if taken and taken.__module__.startswith(kit) and not loss.__module__.startswith(kit):
        raise ValueError(f"loss {loss.__name__!r} is one of the kit's own; give yours another name")


def loss_args(name: str, given: dict | None = None) -> dict:
    """Returns all keyword arguments of a registered loss: its defaults, updated by `given`.

    Raises:
        UnknownName: no such loss; lists what exists.
        TypeError: `given` is no mapping.
        ValueError: `given` has an argument that the loss does not take.
    """
    parameters = inspect.signature(LOSSES[name]).parameters
    defaults = {key: p.default for key, p in parameters.items() if key not in _FIXED}
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise TypeError(f"loss {name!r} was given {given!r}; expected {{argument: value}}")
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ValueError(
            f"loss {name!r} takes {', '.join(defaults) or 'no arguments'}; "
            f"given {', '.join(unknown)}"
        )
    return defaults | dict(given)


def values_of(name: str, logits: torch.Tensor, targets: torch.Tensor, /, **args) -> torch.Tensor:
    """Computes a registered loss, and checks that it gives one number per example.

    Args:
        args: its keyword arguments, progress among them.
    Returns:
        (b,) nats, as the loss gives them.
    Raises:
        ValueError: it gives something else.
    """
    values = LOSSES[name](logits, targets, **args)
    if isinstance(values, torch.Tensor) and values.shape == logits.shape[:-1]:
        if values.is_floating_point():
            return values
    expected = f"expected ({len(logits)},), one number per example, not averaged"
    if not isinstance(values, torch.Tensor):
        raise ValueError(f"loss {name!r} returned {type(values).__name__}; {expected}")
    if values.shape != logits.shape[:-1]:
        shape = tuple(values.shape) or "a scalar"
        raise ValueError(f"loss {name!r} returned {shape} for {len(logits)} examples; {expected}")
    dtype = str(values.dtype).removeprefix("torch.")
    raise ValueError(f"loss {name!r} returned values of dtype {dtype}; expected float32")


def check_loss(name: str, args: Mapping, n_classes: int = 2) -> None:
    """Runs a registered loss on made rows of K classes, and refuses one that breaks the contract.

    It is run at the start and at the end of training; torch's random state stays as it was.

    Args:
        args: all its keyword arguments, as `loss_args` returns them.
        n_classes: K, from 2.
    Raises:
        ValueError: an argument out of range; values of another shape or type, or not finite; no
            gradient, or one that is not finite; values that depend on the other examples of the
            batch, without `batchwise=True`; or, of more than two classes, scores of a class that
            play no part.
    """
    loss = LOSSES[name]
    named = ", ".join(f"{key} = {value!r}" for key, value in args.items())
    described = f"loss {name!r} with {named}" if named else f"loss {name!r}"
    _check_numbers(described, loss, args)
    described += f" on {n_classes} classes" if n_classes > 2 else ""
    has_no_part = torch.ones(n_classes, dtype=torch.bool)
    for progress in (0.0, 1.0):
        try:
            fault, gradient = _try(name, dict(args, progress=progress), n_classes)
        except Exception as error:
            message = " ".join(str(error).split())
            if message.startswith(f"loss {name!r} "):
                raise ValueError(message.replace(f"loss {name!r}", described, 1)) from error
            raise ValueError(f"{described}: {message}") from error
        if fault:
            raise ValueError(f"{described} {fault}, at progress {progress:g} of training")
        has_no_part &= (gradient == 0).all(dim=0)
    # a loss of two classes may read one score alone
    if n_classes > 2 and has_no_part.any():
        unread = int(has_no_part.nonzero()[0])
        raise ValueError(
            f"{described} makes no use of the scores of class {unread}; expected a loss that "
            f"learns from all (b, {n_classes})"
        )


def _try(name: str, given: dict, n_classes: int) -> tuple[str, torch.Tensor]:
    """Runs a loss on made rows; returns what is wrong, "" if nothing, and its gradient (b, K)."""
    loss = LOSSES[name]
    logits, targets = _made_rows(n_classes)
    logits.requires_grad_()
    # an earlier prediction for each row, unlike its label
    previous = {"previous": targets.flip(0)} if loss.running_average else {}
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        values = values_of(name, logits, targets, **given, **previous)
        first_two = {key: average[:2] for key, average in previous.items()}
        values_of_two = values_of(name, logits[:2], targets[:2], **given, **first_two)
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(values.mean(), logits, allow_unused=True)
        if loss.stacks:
            stack = torch.stack([logits, logits.flip(0) * 2]), torch.stack([targets, targets])
            of_stack = values_of(name, *stack, **given)
            alone = [values_of(name, *batch, **given) for batch in zip(*stack, strict=True)]
    fault = _fault_of(values, gradient)
    if not fault and loss.stacks and not torch.allclose(of_stack, torch.stack(alone)):
        fault = "gives a batch of a stack (s, b, K) another value than that batch alone"
    if not fault and not loss.batchwise and not torch.allclose(values[:2], values_of_two):
        fault = (
            "gives an example another value where the rest of its batch is missing; expected "
            "the same, or register_loss(batchwise=True)"
        )
    return fault, torch.zeros_like(logits) if gradient is None else gradient


def _made_rows(n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns logits and targets, (b, K) float32: four rows of two classes, K rows of more."""
    if n_classes == 2:
        return torch.tensor(_LOGITS), torch.tensor(_TARGETS)
    # every class is the likeliest in one row and the label in another, and so with all ranks
    scores = torch.linspace(1.2, -0.8, n_classes)
    n = max(len(_LOGITS), n_classes)
    logits = torch.stack([scores.roll(row) for row in range(n)])
    return logits, (2 * logits).softmax(dim=1).roll(1, dims=1)


def _check_numbers(described: str, loss: Callable, args: Mapping) -> None:
    """Refuses an argument that is no finite number where the loss's own default is a number."""
    for key, parameter in inspect.signature(loss).parameters.items():
        if key in args and _is_number(parameter.default) and not _is_number(args[key]):
            raise ValueError(
                f"{described}: {key} {args[key]!r}; expected a finite number, as its default "
                f"{parameter.default!r}"
            )
        if key in args and not _is_plain(args[key]):
            raise ValueError(
                f"{described}: {key} {args[key]!r}; expected a number, a text, or a list of them, "
                f"as the address of a fit holds it"
            )


def _is_number(value) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _fault_of(values: torch.Tensor, gradient: torch.Tensor | None) -> str:
    """Describes why nothing can be learned from values (b,) of this gradient; "" if it can."""
    if not values.isfinite().all():
        return f"returned {values.tolist()}, which is not finite; expected finite values"
    if gradient is None:
        return "has no gradient; expected values computed from the logits, not detached"
    if not gradient.isfinite().all():
        return "has a gradient that is not finite; expected a finite one"
    return ""


def ramp(progress: float, warmup: float) -> float:
    """Rises linearly from 0 at the start of training to 1 at the fraction `warmup`, then stays 1.

    >>> [ramp(p, 0.2) for p in (0.0, 0.1, 0.2, 1.0)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if not (_is_number(warmup) and warmup > 0):
        raise ValueError(f"warmup {warmup!r}; expected a fraction of training above 0")
    check_share("progress", progress)
    return min(1.0, progress / warmup)


def check(logits: torch.Tensor, targets: torch.Tensor, *, stacks: bool = False) -> None:
    """Checks the scores and labels that a loss is given.

    Scores that are not finite are left to training, which says at which step they were. Values of
    labels are checked on a CPU alone: reading them would make a GPU wait at every step, and
    training has its labels from `SoftLabels`, which checks them.

    Args:
        stacks: several batches, (s, b, K), are taken too.
    Raises:
        TypeError: they are no tensors.
        ValueError: they are not both of shape (b, K), K from 2, or on a CPU a row of labels is no
            probabilities that sum to 1.
    """
    for name, given in (("logits", logits), ("targets", targets)):
        if not isinstance(given, torch.Tensor):
            raise TypeError(f"{name} are a {type(given).__name__}; expected a tensor (b, K)")
    ndims = (2, 3) if stacks else (2,)
    if logits.shape != targets.shape or logits.ndim not in ndims or logits.shape[-1] < 2:
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}; "
            f"expected (b, K) for both"
        )
    if targets.device.type != "cpu":
        return
    # sums may be off by what half precision rounds; NaN is neither
    good = (targets >= 0).all(dim=-1) & ((targets.sum(dim=-1) - 1).abs() <= 1e-2)
    if not good.all():
        targets, good = targets.flatten(0, -2), good.flatten()
        first = int((~good).nonzero()[0])
        raise ValueError(
            f"targets of example {first} of {len(targets)} are {targets[first].tolist()}; expected "
            f"probabilities that sum to 1"
        )


def check_share(name: str, value: float) -> None:
    """Raises a ValueError that names the argument unless its value is in [0, 1]."""
    if not (_is_number(value) and 0 <= value <= 1):
        raise ValueError(f"{name} {value!r}; expected a number in [0, 1]")


def check_finite(name: str, value: float) -> None:
    """Raises a ValueError that names the argument unless its value is a finite number."""
    if not _is_number(value):
        raise ValueError(f"{name} {value!r}; expected a finite number")


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Computes the cross-entropy (b,), in nats, of scores (b, K) and soft labels (b, K).

    Of stacks (s, b, K) it is (s, b).
    """
    if logits.ndim == 2:
        return F.cross_entropy(logits, targets.to(logits), reduction="none")
    flat = logits.flatten(0, -2), targets.to(logits).flatten(0, -2)
    return F.cross_entropy(*flat, reduction="none").view(logits.shape[:-1])


# what all losses share, as part of their code
_SHARED = (values_of, ramp, check, check_share, check_finite, cross_entropy)


def code(name: str) -> str:
    """Returns the version of a registered loss's code, with the code that all losses share.

    It is part of the address of a fit. Functions and plain values that the loss uses from its own
    module or notebook count too; of a loss in a plug-in, all that the file does.
    """
    loss = LOSSES[name]
    used: dict[str, object] = {}
    _add_used(loss, used)
    functions = [value for _, value in sorted(used.items()) if inspect.isfunction(value)]
    content = {
        "code": code_version(loss, *functions, *_SHARED),
        "values": {key: repr(value) for key, value in used.items() if _is_plain(value)},
        "batchwise": loss.batchwise,
        "running_average": loss.running_average,
    }
    plugin = plugins.defining(loss)
    if plugin:
        content["plugin"] = plugin.version
    return address(content)[:16]


def _add_used(function: Callable, used: dict[str, object]) -> None:
    """Adds the functions and plain values that a function uses, and those that they use."""
    for name, value in _names_used(function).items():
        if name in used:
            continue
        if inspect.isfunction(value) and value.__module__ == function.__module__:
            used[name] = value
            _add_used(value, used)
        elif _is_plain(value):
            used[name] = value


def _names_used(function: Callable) -> dict[str, object]:
    """Returns what the names in a function stand for, of its module and its enclosing function."""
    codes = [function.__code__]
    for code in codes:  # of comprehensions and inner functions too
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
    names = {name for code in codes for name in code.co_names} & set(function.__globals__)
    of_module = {name: function.__globals__[name] for name in names}
    return of_module | dict(inspect.getclosurevars(function).nonlocals)


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
