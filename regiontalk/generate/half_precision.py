"""A generator that only writes: in bfloat16 where that is the processor's own kind of number.

A search multiplies few rows with all weights, so half the bytes are nearly half the time. oneDNN
below keeps a program for every number of rows that it meets, hundreds of megabytes of them in a
server, so rows are filled up to one of few numbers.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from regiontalk.generate.model import Generator
from regiontalk.generate.search import Fixed, Step

SMALL = (4, 8, 16, 24, 32, 40, 48)  # rows; beyond these, multiples of 32


class HalfGenerator:
    """A generator in bfloat16, for search alone."""

    def __init__(self, generator: Generator) -> None:
        """Copy a generator's weights."""
        self._generator = copy.deepcopy(generator).bfloat16()

    def search_step(
        self, condition: Tensor, annotations: Tensor | None, mask: Tensor | None = None
    ) -> tuple[Step[Any], Any]:
        """As `Generator.search_step`; what goes in is float32, as are the log-probabilities that come out."""
        rows = len(condition)
        seen = None if annotations is None else _filled(annotations.bfloat16(), rows)
        whole = None if mask is None else _filled(mask, rows)
        full, (state, memory) = self._generator.search_step(
            _filled(condition.bfloat16(), rows), seen, whole
        )

        def step(words: Tensor, parts: Any) -> tuple[Tensor, Any]:
            count = len(words)
            state, memory = (
                tuple(_filled(part, count) for part in whole)
                for whole in (parts[0], parts[1].value)
            )
            log_probabilities, (fresh, _) = full(_filled(words, count), (state, Fixed(memory)))
            return log_probabilities[:count], (tuple(part[:count] for part in fresh), parts[1])

        return step, (
            tuple(part[:rows] for part in state),
            Fixed(tuple(part[:rows] for part in memory.value)),
        )


def filled_rows(rows: int) -> int:
    """How many rows are computed in place of these.

    >>> [filled_rows(rows) for rows in (1, 5, 33, 49, 65, 264)]
    [4, 8, 40, 64, 96, 288]
    """
    return next((size for size in SMALL if rows <= size), -(-rows // 32) * 32)


def _filled(values: Tensor, rows: int) -> Tensor:
    """Values (R, ...) with rows of zeros, or False, up to `filled_rows`."""
    more = filled_rows(rows) - rows
    return functional.pad(values, (0, 0) * (values.ndim - 1) + (0, more)) if more else values


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a device is a processor that computes in bfloat16 itself."""
    is_native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch does not promise it
    return device.type == "cpu" and is_native is not None and bool(is_native())


def for_writing(generator: Generator) -> Generator | HalfGenerator:
    """The generator itself, or a copy that searches faster."""
    return (
        HalfGenerator(generator)
        if has_native_bfloat16(generator.output.weight.device)
        else generator
    )
