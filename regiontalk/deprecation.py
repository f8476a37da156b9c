"""Names that changed: the old ones work for one version, and say what to write instead."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def renamed_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which answers to old names.

    Args:
        module: the module's ``__name__``.
        names: old name -> the name that stands in the module today.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", names[name])
        return getattr(sys.modules[module], names[name])

    return find


def renamed_argument(
    **names: str,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function take an argument by its old name too.

    ``@renamed_argument(least="min_count")``.
    """

    def decorate(
        function: Callable[Parameters, Result],
    ) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for old, new in names.items():
                if old in kwargs:
                    warn_renamed(f"{function.__qualname__}({old}=...)", new)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


WRITTEN_BY_US: Mapping[str, bool] = {"written_by_us": True}
"""Validation context of files that nobody writes by hand, such as a model's ``config.json``."""


def renamed_method(old: str, new: str) -> Callable[..., Any]:
    """What a class has under an old name of one of its methods: it warns and calls the method."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        warn_renamed(f"{type(self).__name__}.{old}", new)
        return getattr(self, new)(*args, **kwargs)

    call.__doc__ = f"Now `{new}`; this name goes in the next version."
    return call


def renamed_keys(values: Any, names: Mapping[str, str], context: Any = None) -> Any:
    """The values of a configuration under today's keys.

    Args:
        values: what is validated; anything but a dict is returned as it is.
        names: old key -> today's key. An old key beside today's stays, and is an unknown key.
        context: the validation context; with `WRITTEN_BY_US` old keys give no warning.
    """
    if not isinstance(values, dict):
        return values
    current: dict[Any, Any] = {}
    for key, value in values.items():
        new = names.get(key)
        if new is None or new in values:
            current[key] = value
            continue
        if context != WRITTEN_BY_US:
            message = f"key {key} is now {new}; the old name goes in the next version"
            # one line, as no line of a program is to blame
            warnings.warn_explicit(
                message, FutureWarning, filename="regiontalk", lineno=1
            )
        current[new] = value
    return current


def warn_renamed(old: str, new: str) -> None:
    """Name the old and the new name at the line that called the caller of this."""
    message = f"{old} is now {new}; the old name goes in the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
