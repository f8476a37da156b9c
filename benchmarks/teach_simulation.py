"""What choosing is worth.

A script answers ``regiontalk teach`` with the truth, least sure first or by chance.

    python benchmarks/teach_simulation.py --out runs/teach

The pool is screens drawn by code, which `mini` has never seen. For each photo that it
is asked about the script gives one true sentence, and the true words of the asked
regions that are an element of the screen. After 20 and 40 answers the model is trained
from `mini` on them, as `regiontalk teach` does, measured on other screens, and asks on.
One core needs about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regiontalk.boxes import iou
from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.screens import write_screens
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train.answers import Answer, Answers
from regiontalk.train.finish import calibrate
from regiontalk.train.generate import GenerateTerms
from regiontalk.train.judges import generate_judge
from regiontalk.train.keep import MEMORY, Memory, mix_weights
from regiontalk.train.own import plan_recipe, read_own
from regiontalk.train.own_confidence import Past
from regiontalk.train.run import Run
from regiontalk.train.teaching import Question, Teacher

POOL_SEED, TEST_SEED = 2_000, 900_000
SAME_THING = 0.5  # intersection over union of an asked box with an element
SECONDS_A_PHOTO = 15.0  # of a person: a sentence and up to three names
FIGURES = ("CIDEr-D", "boxes CIDEr-D", "boxes right")


def truth(question: Question, example: Example) -> Answer:
    """What somebody says who knows.

    A sentence, and the words of the asked boxes that show an element.
    """
    asked = np.array(
        [region.box for region in question.result.regions], dtype=np.float32
    )
    boxes = []
    if len(asked):
        overlaps = iou(example.boxes_xyxy, asked.reshape(-1, 4))
        for phrase in example.phrases:
            rows = list(phrase.boxes)
            if rows and overlaps[rows].max() >= SAME_THING:
                x1, y1, x2, y2 = example.boxes_xyxy[rows[0]].tolist()
                boxes.append(((x1, y1, x2, y2), phrase.text))
    return Answer(
        question.photo, question.result.size_wh, example.captions[:1], tuple(boxes)
    )


class Simulation:
    """A pool, a test set, and a model that is taught."""

    def __init__(self, out: Path, start: str, pool: int, test: int) -> None:
        """Draw the screens and load the model."""
        self.out = out
        write_screens(pool, POOL_SEED, out / "pool")
        write_screens(test, TEST_SEED, out / "test")
        self.pool = {
            example.photo.resolve(): example for example in read_folder(out / "pool")[0]
        }
        self.test = read_folder(out / "test")[0]
        folder = resolve_model(start)
        self.base = RegionModel.from_folder(folder).trainable()
        self.memory = None
        if not self.base.config.generator.attention:
            self.memory = Memory.load(folder / MEMORY, self.base.extractor)

    def teach(
        self, name: str, counts: Sequence[int], seed: int, in_order: bool
    ) -> None:
        """Answer, train and measure, and print a line for each count of answers."""
        answers = Answers(self.out / name / "answers.jsonl")
        if len(answers):
            raise SystemExit(
                f"{answers.path}: answers of an earlier run; choose another --out"
            )
        captioner = RegionCaptioner(predictor=TorchPredictor(self.base))
        teacher = Teacher(
            captioner, list(self.pool), answers, seed=seed, in_order=in_order
        )
        for count in counts:
            self.answer(teacher, answers, count)
            started = time.process_time()
            model, figures = self.train(answers, self.out / name / f"round_{count}")
            boxes = sum(len(row.get("boxes", ())) for row in answers)
            print(
                f"{name}: {count} answers with {boxes} boxes "
                f"({count * SECONDS_A_PHOTO / 60:.0f} minutes of a person): {figures}; "
                f"{time.process_time() - started:.0f} s of training",
                flush=True,
            )
            teacher.use(RegionCaptioner(predictor=TorchPredictor(model)))

    def answer(self, teacher: Teacher, answers: Answers, count: int) -> None:
        """Tell the truth until there are so many answers."""
        while len(answers) < count:
            question = teacher.next()
            if question is None:
                raise SystemExit(
                    f"--answers {count}: the pool has {len(self.pool)} screens"
                )
            teacher.take(truth(question, self.pool[question.photo]))

    def train(self, answers: Answers, out: Path) -> tuple[RegionModel, str]:
        """A model that has learnt the answers, and its figures on the test screens."""
        photos = read_own(answers.path, lambda line: None)
        recipe = plan_recipe(self.base.config, photos, "taught")
        runs = [
            Run(
                recipe=recipe,
                data=answers.path,
                out=out / folder_name,
                log=lambda line: None,
                examples=photos.train,
                dev=dev,
                base=self.base,
                memory=self.memory,
            )
            for folder_name, dev in (("run", photos.dev), ("test", self.test))
        ]
        run, test_run = runs
        model = run.build(None, None)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        for stage in ("align", "generate"):
            run.stage(stage, model)
        if self.memory is not None:
            mix_weights(model, before)
        features = run.features(model, "generate")
        past = Past.of_training(self.base, self.memory, photos.train, features)
        calibrate(model.eval(), photos.dev, lambda line: None, past)
        return model, self.measure(model, test_run)

    def measure(self, model: RegionModel, run: Run) -> str:
        """A model's figures on the test screens, which are the dev photos of a run."""
        config = run.recipe.generate
        if config is None:
            raise ValueError("recipe: expected a section [generate], got none")
        terms = GenerateTerms.of_examples(
            model, config, self.test, run.dev_features(model)
        )
        figures = generate_judge(terms, [example.captions for example in self.test])()
        return ", ".join(f"{name} {100 * figures[name]:.1f}" for name in FIGURES)


def main() -> None:
    """Teach twice for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/teach"))
    parser.add_argument("--start", default="mini")
    parser.add_argument("--pool", type=int, default=150)
    parser.add_argument("--test", type=int, default=80)
    parser.add_argument("--answers", type=int, nargs="+", default=[20, 40])
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    simulation = Simulation(
        arguments.out, arguments.start, arguments.pool, arguments.test
    )
    for seed in range(arguments.seeds):
        simulation.teach(f"chance_{seed}", arguments.answers, seed, in_order=True)
        simulation.teach(f"least_sure_{seed}", arguments.answers, seed, in_order=False)


if __name__ == "__main__":
    main()
