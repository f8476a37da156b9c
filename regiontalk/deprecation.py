"""Names that changed: the old ones work for one version, and say what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

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
