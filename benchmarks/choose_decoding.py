r"""Choose on dev how a model speaks and looks.

Beams, length power, and the weight of objectness in `locate`.

    python benchmarks/choose_decoding.py --model runs/mini/model --data DATA \
        --json out/decoding.json

Each row is one setting: BLEU-4, CIDEr-D, mean length and novelty (the share that stands word for
word in the training
sentences) of whole-photo captions, or R@1 (any box) of phrases. Nothing is written to the model;
put what you choose into the recipe's [decoding] section.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.phrases import evaluate_phrases
from regiontalk.evaluate.region_captions import caption_photos
from regiontalk.metrics.captions import score_captions

BEAMS = (1, 3, 5, 7)
POWERS = (0.0, 0.7, 1.0)
PRIORS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


def main() -> None:
    """Print one line a setting; write all as JSON."""
    arguments = parse_arguments()
    examples, _ = read_split(arguments.data, arguments.split)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    photos = EncodedPhotos(captioner, examples[: arguments.limit], keep=True)
    training = [
        caption
        for example in read_split(arguments.data, "train")[0]
        for caption in example.captions
    ]
    ways = [
        (beams, power) for beams in BEAMS for power in (POWERS if beams > 1 else (0.0,))
    ]
    rows = [caption_row(photos, training, beams, power) for beams, power in ways]
    rows += [phrase_row(photos, prior) for prior in PRIORS]
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def choose(captioner: RegionCaptioner, **settings: float) -> None:
    """Let the model decode with these settings."""
    config = captioner.config
    decoding = config.decoding.model_copy(update=settings)
    captioner.predictor.config = config.model_copy(update={"decoding": decoding})


def caption_row(
    photos: EncodedPhotos, training: list[str], beams: int, power: float
) -> dict[str, float]:
    """Whole-photo captions with one setting."""
    choose(photos.captioner, beams=beams, length_power=power)
    captions = {name: caption.text for name, caption in caption_photos(photos).items()}
    references = {
        example.id: example.captions
        for example in photos.examples
        if example.id in captions
    }
    scores = score_captions(captions, references, training=training, resamples=10)
    words = sum(len(text.split()) for text in captions.values()) / len(captions)
    figures = {
        name: figure.value if (figure := scores.figures[name]) else 0.0
        for name in ("BLEU-4", "CIDEr-D")
    }
    figures |= {"words": words, "in training": scores.diversity.in_training or 0.0}
    columns = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
    print(f"beams {beams} power {power:g}: {columns}", flush=True)
    return {"beams": beams, "length_power": power, **figures}


def phrase_row(photos: EncodedPhotos, prior: float) -> dict[str, float]:
    """Phrase localisation with one weight."""
    choose(photos.captioner, region_prior=prior)
    figure = evaluate_phrases(photos, resamples=10).figures["model"]["any box R@1"]
    value = figure.value if hasattr(figure, "value") else float(figure or 0.0)
    print(f"region_prior {prior:g}: any box R@1 {value:.4f}")
    return {"region_prior": prior, "any_box_r1": value}


if __name__ == "__main__":
    main()
