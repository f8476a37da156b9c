"""Fit a model's confidence on one half of dev, judge it on the other, draw the reliability plot.

    python benchmarks/calibrate.py --model runs/mini/model --data DATA --plot docs/reliability.png

What counts as right stands in `regiontalk.evaluate.calibration`. `regiontalk evaluate calibrate
--write` puts the fit into the model's config.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.calibration import Fitted, fit_confidence
from regiontalk.evaluate.photos import EncodedPhotos


def main() -> None:
    """Fit, print, draw and perhaps write."""
    arguments = parse_arguments()
    examples, _ = read_split(arguments.data, arguments.split)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    fit = fit_confidence(EncodedPhotos(captioner, examples, keep=True))
    kinds = {"whole photo": fit.photo, "region": fit.region}
    for name, fitted in kinds.items():
        print(
            f"{name}: {fitted.calibration.model_dump_json()} fitted on "
            f"{fitted.fitted_on} captions of one half"
        )
        for when, reliability in (("before", fitted.before), ("after", fitted.after)):
            error = reliability.error
            print(
                f"  {when}: calibration error {error.value:.3f} ({error.low:.3f} to "
                f"{error.high:.3f}), Brier {reliability.brier.value:.3f}, right "
                f"{reliability.accuracy.value:.3f}"
            )
    if arguments.plot:
        draw(kinds, arguments.plot)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def draw(kinds: dict[str, Fitted], path: Path) -> None:
    """Share of right captions over confidence, a panel a kind.

    The number of captions are grey bars.
    """
    figure, panels = pyplot.subplots(
        1, len(kinds), figsize=(9, 4.2), layout="constrained"
    )
    for panel, (name, fitted) in zip(panels, kinds.items(), strict=True):
        bins = [row for row in fitted.after.bins if row.count]
        total = sum(row.count for row in bins)
        panel.bar(
            [(row.low + row.high) / 2 for row in bins],
            [row.count / total for row in bins],
            width=0.09,
            color="0.85",
            label="share of captions",
        )
        panel.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        panel.plot(
            [row.confidence for row in bins],
            [row.accuracy for row in bins],
            "o-",
            label="share right",
        )
        error = fitted.after.error
        panel.set(
            title=f"{name}: calibration error {error.value:.3f}",
            xlabel="confidence",
            xlim=(0, 1),
            ylim=(0, 1),
        )
        panel.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
