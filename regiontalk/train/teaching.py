"""Which photos and regions a person is asked about: those of which the model is least sure.

Uncertainty sampling (Lewis and Gale, SIGIR 1994) with the calibrated confidences that
the captioner has anyway. Photos are looked at a few at a time, in an order of their
own, so that the first question comes at once: the next one is always the least sure of
those looked at and not answered yet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regiontalk.captioner import RegionCaptioner
from regiontalk.images.open import ImageError
from regiontalk.records import ImageResult
from regiontalk.train.answers import Answer, Answers

FIRST_LOOK = 24  # photos that are looked at before the first question
NEXT_LOOK = 8  # and before each of the others
MAX_WAITING = 200  # looked at and not answered; more would only cost time
PROPOSALS = 10  # regions of a photo from which those that are asked about are chosen


@dataclass(frozen=True)
class Question:
    """A photo that a person is asked about.

    Attributes:
        photo: its path.
        result: what the model says of it, and of the regions that are asked about.
        sureness: 0..1, of the photo and these regions.
    """

    photo: Path
    result: ImageResult
    sureness: float


class Teacher:
    """Asks about photos and takes the answers."""

    def __init__(
        self,
        captioner: RegionCaptioner,
        photos: Sequence[Path],
        answers: Answers,
        *,
        regions: int = 3,
        in_order: bool = False,
        seed: int = 0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Take a model and its pupils.

        Args:
            captioner: its confidences choose.
            photos: that may be asked about.
            answers: photos in it are not asked about.
            regions: asked about beside the whole photo.
            in_order: ask in the order of chance, least sure or not: what choosing is compared with.
            seed: of the order in which photos are looked at.
            log: takes a line for each photo that cannot be opened.
        """
        self.captioner = captioner
        self.answers = answers
        self.regions = regions
        self._in_order = in_order
        self._log = log
        self._unseen = [photo for photo in photos if photo not in answers]
        random.Random(seed).shuffle(self._unseen)
        self._looked: dict[Path, Question] = {}

    @property
    def left(self) -> int:
        """Photos that are not answered yet."""
        return len(self._unseen) + len(self._looked)

    def use(self, captioner: RegionCaptioner) -> None:
        """Go on with another model, which looks anew at what waits."""
        self.captioner = captioner
        self._unseen = [*self._looked, *self._unseen]
        self._looked = {}

    def next(self) -> Question | None:
        """The photo to ask about; None where all are answered."""
        wanted = NEXT_LOOK if self._looked else FIRST_LOOK
        if self._in_order:
            wanted = 0 if self._looked else 1
        self._look_at(min(wanted, MAX_WAITING - len(self._looked)))
        if not self._looked:
            return None
        questions = list(self._looked.values())
        return min(questions, key=lambda question: question.sureness)

    def question(self, photo: Path) -> Question | None:
        """The question about a photo that waits for its answer."""
        return self._looked.get(photo)

    def take(self, answer: Answer) -> None:
        """Save an answer.

        Raises:
            OSError: it could not be written; the question still waits.
        """
        self.answers.add(answer)
        self._looked.pop(answer.photo, None)
        if answer.photo in self._unseen:
            self._unseen.remove(answer.photo)

    def _look_at(self, count: int) -> None:
        """Let the model look at so many more photos.

        One that cannot be opened is told and left out.
        """
        photos, self._unseen = self._unseen[:count], self._unseen[count:]
        for photo in photos:
            try:
                (result,) = self.captioner.caption_many(
                    [str(photo)], regions=PROPOSALS, threshold=0.0, check_photo=False
                )
            except ImageError as error:
                self._log(f"left out: {error}")
                continue
            self._looked[photo] = ask(photo, result, self.regions)


def ask(photo: Path, result: ImageResult, regions: int) -> Question:
    """The question about a photo.

    Args:
        photo: its path.
        result: what the model says of it.
        regions: how many are asked about: those that are likeliest something, for words on what is
            nothing teach nothing.
    """
    likely = sorted(result.regions, key=lambda region: region.score, reverse=True)[
        :regions
    ]
    texts = [*likely, *([] if result.caption is None else [result.caption])]
    sureness = sum(region.confidence for region in texts) / max(1, len(texts))
    asked = ImageResult(
        photo=result.photo,
        size_wh=result.size_wh,
        model=result.model,
        caption=result.caption,
        regions=tuple(likely),
    )
    return Question(photo, asked, sureness)
