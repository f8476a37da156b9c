"""When a caption counts as right, by its content words.

* A region's: the F1 of its words with those of the best reference phrase of the box (repeats
  counted) is >= 0.5.
* A whole photo's: at least half of its words stand in any of the photo's sentences.

Content words are tokens of `text.tokenize` without function words and without ``<unk>``. A caption
without any is wrong. A box or photo whose references have none (only "him", "them") is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from regiontalk.captioner import calibrated
from regiontalk.evaluate.charts import Chart, histogram, reliability_chart
from regiontalk.evaluate.region_captions import Spoken
from regiontalk.metrics.calibration import reliability
from regiontalk.model.config import Calibration
from regiontalk.text.nouns import FUNCTION_WORDS
from regiontalk.text.vocabulary import SPECIAL, UNKNOWN, tokenize

LEAST_F1 = 0.5
LEAST_PRECISION = 0.5


def content_words(text: str) -> list[str]:
    """The words of a text that say something.

    >>> content_words("A man in his red shirt")
    ['man', 'red', 'shirt']
    """
    silent = {*FUNCTION_WORDS, SPECIAL[UNKNOWN]}
    return [word for word in tokenize(text) if word not in silent]


def region_right(caption: str, phrases: Sequence[str]) -> bool | None:
    """Whether a region's caption is right; None where no phrase has a content word.

    >>> region_right("a red shirt", ["his shirt"])  # 1 shared; precision 1/2, recall 1: F1 = 2/3
    True
    """
    groups = [Counter(words) for words in map(content_words, phrases) if words]
    said = Counter(content_words(caption))
    if not groups:
        return None
    shared = [(said & group).total() * 2 / (said.total() + group.total()) for group in groups]
    return max(shared) >= LEAST_F1


def photo_right(caption: str, sentences: Sequence[str]) -> bool | None:
    """Whether a whole photo's caption is right; None where no sentence has a content word.

    >>> photo_right("a dog on the moon", ["A dog runs."])  # one of two words
    True
    """
    known = {word for sentence in sentences for word in content_words(sentence)}
    said = content_words(caption)
    if not known:
        return None
    return bool(said) and sum(word in known for word in said) / len(said) >= LEAST_PRECISION


def confidence_charts(
    calibration: Calibration,
    judged: Sequence[tuple[str, Spoken, bool | None]],
    resamples: int = 1000,
) -> list[Chart]:
    """How the model's own confidence holds, and which confidences it gives to right and to wrong captions.

    Args:
        calibration: of this kind of caption.
        judged: photo, caption, and whether it is right; those that cannot be judged are left out.
        resamples: bootstrap draws of photos.
    """
    rows = [(photo, said, right) for photo, said, right in judged if right is not None]
    if not rows:
        return []
    values = [calibrated(calibration, said.fluency, said.match) for _, said, _ in rows]
    truth = [right for *_, right in rows]
    held = reliability(values, truth, [photo for photo, *_ in rows], resamples=resamples)
    error = held.error
    name = f"calibration error {error.value:.3f} ({error.low:.3f} to {error.high:.3f})"
    groups = {
        "right": [value for value, right in zip(values, truth, strict=True) if right],
        "wrong": [value for value, right in zip(values, truth, strict=True) if not right],
    }
    return [
        reliability_chart("Reliability of the confidences", {name: held}),
        histogram("Confidences of right and of wrong captions", "confidence", groups),
    ]
