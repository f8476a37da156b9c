r"""What to expect of how many photos.

``regiontalk train FOLDER`` on subsets of a data set, measured on its dev split.

    python benchmarks/learning_curve.py DATA --weights BACKBONE.safetensors \
        --sizes 100 1000 --plot curve.png

Each model begins with the weights of a backbone and nothing else. Sizes that are measured already
are read from ``OUT/curve.json``, so that one may be added later.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from own_photos import CIDER, R1_PHOTO, R1_SENTENCE, RIGHT, in_words, measure, train

from regiontalk.datasets.splits import read_split
from regiontalk.files import write_data
from regiontalk.records import Example

RESULTS = "curve.json"
PANELS = {
    "photos and sentences found, R@1, %": (R1_SENTENCE, R1_PHOTO),
    "sentences, CIDEr-D": (CIDER,),
    "words right on true boxes, %": (RIGHT,),
}


def write_subset(examples: Sequence[Example], folder: Path) -> None:
    """Photos as a folder of one's own: their sentences, and the boxes that phrases name."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = folder / "photos"
    if not photos.is_symlink():
        photos.symlink_to(examples[0].photo.parent.resolve())
    lines = [json.dumps(row_of(example)) for example in examples]
    write_data(folder / "photos.jsonl", ("\n".join(lines) + "\n").encode())


def row_of(example: Example) -> dict[str, Any]:
    """A photo as a line of ``photos.jsonl``."""
    row: dict[str, Any] = {
        "photo": f"photos/{example.photo.name}",
        "captions": list(example.captions),
        "boxes": [
            {"box": example.boxes_xyxy[box].tolist(), "phrase": phrase.text}
            for phrase in example.phrases
            for box in phrase.boxes
        ],
    }
    if example.size_wh is not None:
        row["width"], row["height"] = example.size_wh
    return row


def learn(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of every size, by the size as text; those that are known are not learnt again."""
    path = arguments.out / RESULTS
    results = json.loads(path.read_text()) if path.is_file() else {}
    examples, _ = read_split(arguments.data, "train")
    dev = read_split(arguments.data, "dev")[0][: arguments.dev]
    for size in arguments.sizes:
        if str(size) in results:
            continue
        folder = arguments.out / f"photos{size}"
        write_subset(examples[:: len(examples) // size][:size], folder)
        model = arguments.out / f"model{size}"
        trained = train(folder, model, ["--weights", str(arguments.weights)])
        results[str(size)] = trained._asdict() | measure(str(model), dev)
        write_data(path, json.dumps(results, indent=1).encode())
        print(f"{size} photos: {in_words(results[str(size)])}", flush=True)
    return results


def plot(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """The figures over the number of photos."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = sorted(map(int, results))
    figure, axes = pyplot.subplots(
        1, len(PANELS), figsize=(11, 3.4), layout="constrained"
    )
    for axis, (title, names) in zip(axes, PANELS.items(), strict=True):
        for name in names:
            values = [results[str(size)][name] for size in sizes]
            axis.semilogx(sizes, values, "o-", label=name)
        axis.set(title=title, xlabel="photos to learn from", ylim=(0, None))
        axis.set_xticks(sizes, map(str, sizes))
        if len(names) > 1:
            axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train, measure and plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="of Flickr's layout, with its Entities")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--dev", type=int, default=500, help="photos to measure on")
    parser.add_argument("--out", type=Path, default=Path("runs/curve"))
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    results = learn(arguments)
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
