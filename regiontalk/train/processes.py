"""The processes that train one model together: this one alone, or all that a launcher has started.

A step has the same batch whatever the number of processes: each takes its part of the photos, and
every process knows the texts of all. Losses are those of the whole batch. Where photos stand
against the texts of other photos, the encoded regions and words of all processes are gathered, so
that the negatives are those of all; where a loss is a mean, each process's part weighs by what it
counts. The mean of all processes' gradients is then the gradient of the whole batch.

Hugging Face Accelerate brings the processes together and carries what they tell each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import PartialState

Item = TypeVar("Item")
SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# for a process that computes features while the others wait
PATIENCE = timedelta(days=7)
SEED_DISTANCE = 2**40  # between the seeds of two processes

Statistics = dict[str, tuple[Tensor, Tensor, int]]
"""Mean, variance and number of batches of each batch norm, by name."""


class Processes:
    """This process alone; it has all items, and nothing to tell others.

    Attributes:
        count: W, how many there are.
        rank: which of them this one is, 0 = the main process, which alone writes files and lines.
    """

    count = 1
    rank = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def device(self, name: str) -> str | torch.device:
        """Where this process computes, of the name that the user gave."""
        return name

    def bounds(self, length: int) -> tuple[int, int]:
        """The first and last + 1 of ``length`` items that are this process's part."""
        return length * self.rank // self.count, length * (self.rank + 1) // self.count

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of some items.

        The parts of all, one after the other, are the whole.
        """
        first, last = self.bounds(len(items))
        return items[first:last]

    def seed(self, step_seed: int) -> int:
        """The seed of what this process draws for itself, such as dropout."""
        return step_seed + self.rank * SEED_DISTANCE

    def agree(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """Tensors as the main process has them, to the last bit, for all.

        Each has the same shape everywhere.
        """
        return values

    def gather(self, values: Tensor) -> Tensor:
        """The rows of all processes, in order, this one's with their gradient.

        Args:
            values: (R, ...); R and all other lengths may differ, shorter ones are filled with
                zeros or False.

        Returns:
            (sum of all R, ...). The gradient of this process's rows is multiplied by W:
            each process computes the same loss of all rows, and the mean of the W
            gradients is to be the whole one's.
        """
        return values

    def weigh(self, mean: Tensor, counted: int, counted_by_all: int) -> Tensor:
        """A mean over some items of a batch as their part of the mean over all items.

        Args:
            mean: () over the items of this process, or of one part of them; not read
                where there are none.
            counted: how many these are.
            counted_by_all: how many all processes have in all parts.

        Returns:
            () W times their share of the mean: added up over the parts, its mean over
            the processes is the mean over all items.
        """
        if not counted:
            return mean.new_zeros(())
        return mean * (self.count * counted / counted_by_all)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes of numbers of any shape, without gradient."""
        return values

    def mean_terms(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """The value of each loss term for the whole batch; all processes have the same terms."""
        if not terms:
            return {}
        values = torch.stack([value.detach().float() for value in terms.values()])
        return dict(zip(terms, self.mean(values).tolist(), strict=True))

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every parameter the mean of its gradients; none where no process has one."""

    def statistics(self, module: nn.Module) -> Statistics:
        """The statistics of all batch norms before a step, for `merge_statistics`."""
        return {}

    def merge_statistics(self, module: nn.Module, before: Statistics) -> None:
        """Give batch norms the statistics that one process would have after the batches of all.

        Args:
            module: whose norms each process has updated with batches of its own.
            before: the statistics before that.
        """

    def copy_main(self, module: nn.Module) -> None:
        """Give the module the main process's weights and statistics, to the last bit."""

    def main_first(self) -> AbstractContextManager[None]:
        """Lets the main process do something first: what it leaves on disk the others only read."""
        return nullcontext()

    def wait(self) -> None:
        """Until all processes are here."""


ALONE = Processes()


class _Update(NamedTuple):
    """How one statistic (F,) of a batch norm moves in a step of all processes.

    Attributes:
        statistic: the tensor of the norm itself.
        remainder: what is left of it from before the step.
        addition: what this process's batches add.
    """

    statistic: Tensor
    remainder: Tensor
    addition: Tensor


class LaunchedProcesses(Processes):
    """All processes that `accelerate launch`, `torchrun` or `mpirun` has started."""

    def __init__(self, state: PartialState) -> None:
        """Take the processes as Accelerate has brought them together."""
        self.state = state
        self.count = state.num_processes
        self.rank = state.process_index

    def device(self, name: str) -> str | torch.device:
        """The accelerator of its own that Accelerate gave this process, or the processor."""
        return name if name == "cpu" else self.state.device

    def agree(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        """See `Processes.agree`.

        Float64 holds floats and counts without loss, and all go in one message.
        """
        from accelerate.utils import broadcast

        flat = torch.cat([value.detach().double().flatten() for value in values])
        lengths = [value.numel() for value in values]
        main_values = torch.split(broadcast(flat.to(self.state.device)), lengths)
        return [
            main_value.view(value.shape).to(value.device, value.dtype)
            for main_value, value in zip(main_values, values, strict=True)
        ]

    def gather(self, values: Tensor) -> Tensor:
        """See `Processes.gather`."""
        from accelerate.utils import gather

        # (W, dimensions)
        lengths = gather(torch.tensor([values.shape], device=self.state.device))
        longest = lengths.amax(0).tolist()
        numbers = _to_numbers(values.detach()).to(self.state.device)
        padded = numbers.new_zeros(longest)
        padded[tuple(slice(length) for length in values.shape)] = numbers
        blocks = gather(padded[None]).to(values.dtype)  # (W, longest R, ...)
        rows = [
            block[:length]
            for block, length in zip(blocks, lengths[:, 0].tolist(), strict=True)
        ]
        if values.requires_grad:
            fitted = nn.functional.pad(values, _filling(values.shape, longest))
            fitted.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: gradient * self.count
            )
            rows[self.rank] = fitted
        return torch.cat(rows)

    def mean(self, values: Tensor) -> Tensor:
        """See `Processes.mean`."""
        from accelerate.utils import reduce

        averaged: Tensor = reduce(values.detach().to(self.state.device), "mean")
        return averaged.to(values.device)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """See `Processes.average_gradients`."""
        has_gradient = [float(parameter.grad is not None) for parameter in parameters]
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in parameters
        ]
        flags = torch.tensor(has_gradient, device=self.state.device)
        flat = torch.cat(
            [flags, *(gradient.float().flatten() for gradient in gradients)]
        )
        lengths = [len(parameters), *(parameter.numel() for parameter in parameters)]
        flags, *averages = torch.split(self.mean(flat), lengths)
        for parameter, flag, average in zip(
            parameters, flags.tolist(), averages, strict=True
        ):
            parameter.grad = (
                average.view_as(parameter).to(parameter.dtype) if flag else None
            )

    def statistics(self, module: nn.Module) -> Statistics:
        """See `Processes.statistics`."""
        return {
            name: (mean.clone(), variance.clone(), batches)
            for name, (mean, variance, batches) in _norm_statistics(module)
        }

    def merge_statistics(self, module: nn.Module, before: Statistics) -> None:
        """A running value r becomes (1 - m) r + m x with each batch x.

        So k batches leave (1 - m)^k r + what they add. The additions of the processes
        follow each other in the order of their parts of the batch.
        """
        norms = dict(module.named_modules())
        updates: list[_Update] = []
        for name, (mean, variance, batches) in _norm_statistics(module):
            first_mean, first_variance, first_batches = before[name]
            added = batches - first_batches
            if not added:
                continue
            decay = (1 - norms[name].momentum) ** added
            updates += [
                self._update(mean, first_mean, decay),
                self._update(variance, first_variance, decay),
            ]
            norms[name].num_batches_tracked.fill_(first_batches + added * self.count)
        if not updates:
            return
        additions = torch.cat([update.addition for update in updates])
        sums = self.count * self.mean(additions)
        lengths = [len(update.statistic) for update in updates]
        for update, addition in zip(updates, torch.split(sums, lengths), strict=True):
            update.statistic.copy_(update.remainder + addition)

    def _update(self, statistic: Tensor, before: Tensor, decay: float) -> _Update:
        """What a step has made of a statistic.

        ``decay`` is what its batches leave of the value before.
        """
        later_processes = self.count - 1 - self.rank
        addition = decay**later_processes * (statistic - decay * before)
        return _Update(statistic, decay**self.count * before, addition)

    def copy_main(self, module: nn.Module) -> None:
        """See `Processes.copy_main`."""
        values = list(module.state_dict().values())
        with torch.no_grad():
            for value, main_value in zip(values, self.agree(values), strict=True):
                value.copy_(main_value)

    def main_first(self) -> AbstractContextManager[None]:
        """See `Processes.main_first`."""
        first: AbstractContextManager[None] = self.state.main_process_first()
        return first

    def wait(self) -> None:
        """See `Processes.wait`."""
        self.state.wait_for_everyone()


def launched_count() -> int:
    """How many processes a launcher says that it has started; 1 without a launcher."""
    return max(int(os.environ.get(name) or 1) for name in SIZES)


def launched_processes(device: str) -> Processes:
    """The processes that a launcher has started for this training.

    This one alone without a launcher.

    Args:
        device: ``cpu``, or another name, of which each process then takes its own.

    Raises:
        ImportError: there are several and Accelerate is not installed.
    """
    count = launched_count()
    if count == 1:
        return ALONE
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            f"launched as {count} processes, which need accelerate: pip install 'regiontalk[scale]'"
        ) from error
    return LaunchedProcesses(PartialState(cpu=device == "cpu", timeout=PATIENCE))


def _norm_statistics(
    module: nn.Module,
) -> Iterator[tuple[str, tuple[Tensor, Tensor, int]]]:
    """Name, mean, variance and number of batches of every batch norm with running statistics."""
    for name, norm in module.named_modules():
        if (
            not isinstance(norm, nn.modules.batchnorm._BatchNorm)
            or norm.momentum is None
        ):
            continue
        mean, variance, batches = (
            norm.running_mean,
            norm.running_var,
            norm.num_batches_tracked,
        )
        if mean is not None and variance is not None and batches is not None:
            yield name, (mean, variance, int(batches))


def _to_numbers(values: Tensor) -> Tensor:
    """Values in a type that every backend carries; nothing is lost."""
    if values.dtype == torch.bool:
        return values.to(torch.uint8)
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _filling(shape: Sequence[int], longest: Sequence[int]) -> list[int]:
    """The argument of `torch.nn.functional.pad` for arrays of different lengths.

    All dimensions but the first are filled up to the longest.
    """
    fillings: list[int] = []
    for length, wanted in reversed(list(zip(shape, longest, strict=True))[1:]):
        fillings += [0, wanted - length]
    return fillings
