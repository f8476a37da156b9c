"""What test_processes.py starts twice.

Gathers, statistics and every stage's terms, by two processes and by one. python
two_processes.py DATA OUT; the environment names the processes.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regiontalk.train.align import AlignTerms
from regiontalk.train.generate import GenerateConfig, GenerateTerms
from regiontalk.train.joint import JointTerms
from regiontalk.train.loop import Terms, no_more
from regiontalk.train.processes import ALONE, Processes, launched_processes
from regiontalk.train.recipe import Recipe
from regiontalk.train.run import Run

PHRASES = {"phrases": 2, "spare_alike": True}
RECIPE = tomllib.loads((Path(__file__).parents[1] / "data/tiny.toml").read_text())
VALUES: dict[str, Any] = {
    **RECIPE,
    "generator": {**RECIPE["generator"], "attention": 8, "dropout": 0.0},
    "features": {"regions": 4},
    "joint": {"batch": 6, "regions": 4} | PHRASES,
    "align": {"batch": 7, "spans": 1},
    "generate": {
        "batch": 5,
        "pairs": 0,
        "phrases": 1,
        "attention_penalty": 0.5,
        "unseen": 3,
        "smoothing": 0,
    },
}


def check_gather(processes: Processes) -> None:
    """Rows of different counts and lengths come together.

    Each process's gradient is W times its own.
    """
    rows = (
        torch.arange(6.0).view(2, 3) if processes.is_main else torch.full((1, 2), 7.0)
    )
    rows.requires_grad_()
    together = processes.gather(rows)
    expected = torch.tensor([[0.0, 1, 2], [3, 4, 5], [7, 7, 0]])
    assert torch.equal(together.detach(), expected), together
    together.square().sum().backward()
    assert rows.grad is not None and torch.equal(rows.grad, 2 * 2 * rows.detach()), (
        rows.grad
    )
    nothing = torch.zeros(0, 2) if processes.is_main else torch.ones(1, 2)
    assert torch.equal(processes.gather(nothing), torch.ones(1, 2))
    mask = torch.tensor([[True, processes.is_main]])
    assert processes.gather(mask).tolist() == [[True, True], [True, False]]


def check_statistics(processes: Processes) -> None:
    """A norm that two processes feed has the statistics of one that reads all batches in order."""
    batches = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
    alone, shared = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for batch in batches:
        alone(batch)
    before = processes.statistics(shared)
    for batch in processes.share(list(batches)):
        shared(batch)
    processes.merge_statistics(shared, before)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value)


def check_terms(
    name: str,
    module: nn.Module,
    terms: Callable[[Processes], Terms],
    processes: Processes,
) -> None:
    """The values of the terms and their gradients are those of one process with the same batch."""
    (values, gradient), (values_of_all, gradient_of_all) = (
        measure(module, terms(group), group) for group in (ALONE, processes)
    )
    assert set(values) == set(values_of_all), name
    for term, value in values.items():
        assert abs(values_of_all[term] - value) <= 1e-4 * (1 + abs(value)), (name, term)
    distance = (gradient_of_all - gradient).norm() / gradient.norm()
    assert distance < 1e-3, f"{name}: gradients {float(distance):.1e} apart"
    print(f"{name}: {', '.join(values)}; gradients {float(distance):.1e} apart")


def measure(
    module: nn.Module, terms: Terms, group: Processes
) -> tuple[dict[str, float], Tensor]:
    """The values of a step's terms and the gradient of all weights, one after the other."""
    module.zero_grad(set_to_none=True)
    torch.manual_seed(group.seed(5))
    values: dict[str, float] = {}
    for losses in (terms(1), *getattr(terms, "rest", no_more)(1)):
        for name, value in group.mean_terms(losses).items():
            values[name] = values.get(name, 0.0) + value
        total = torch.stack(list(losses.values())).sum()
        if total.requires_grad:  # a part may have no photo
            torch.autograd.backward([total])
    weights = list(module.parameters())
    group.average_gradients(weights)
    gradients = [weight.grad.flatten() for weight in weights if weight.grad is not None]
    return values, torch.cat(gradients)


def main() -> None:
    """All checks; the processes that this one works with are named by the environment."""
    data, out = map(Path, sys.argv[1:])
    # in float32, so that rounding hides nothing
    torch.autocast = lambda *arguments, **settings: nullcontext()  # type: ignore[misc, assignment]
    processes = launched_processes("cpu")
    assert processes.count == 2
    check_gather(processes)
    check_statistics(processes)
    recipe = Recipe.model_validate(VALUES)
    run = Run(
        recipe=recipe, data=data, out=out, log=lambda line: None, processes=processes
    )
    # in evaluation mode: batch norms read their own statistics, whatever stands in a batch
    model = run.build(None, None).eval()
    plan, examples, store = run.recipe, run.examples, run.store(model)
    assert plan.joint and plan.align and plan.generate
    joint = plan.joint
    check_terms(
        "joint",
        model,
        lambda group: JointTerms(model, examples, store, joint, processes=group),
        processes,
    )
    features = run.features(model, "align")
    align = AlignTerms.of_examples
    check_terms(
        "align",
        model.aligner,
        lambda group: align(model, plan.align, examples, features, group),
        processes,
    )
    unseen = [caption for example in examples for caption in example.captions]
    generate = plan.generate
    # of 5 photos: some parts have none
    in_parts = generate.model_copy(update={"parts": 4})
    for name, config in (("generate", generate), ("generate in parts", in_parts)):

        def make_terms(
            group: Processes, config: GenerateConfig = config
        ) -> GenerateTerms:
            return GenerateTerms.of_examples(
                model,
                generate if group is ALONE else config,
                examples,
                features,
                unseen=unseen,
                processes=group,
            )

        check_terms(name, model.generator, make_terms, processes)
    processes.wait()


if __name__ == "__main__":
    main()
