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

from regiontalk.captioner import ScoredCaption, confidence_of
from regiontalk.evaluate.charts import Chart, histogram, reliability_chart
from regiontalk.metrics.calibration import reliability
from regiontalk.model.config import Calibration
from regiontalk.text.nouns import FUNCTION_WORDS
from regiontalk.text.vocabulary import SPECIAL, UNKNOWN, tokenize

MIN_F1 = 0.5
MIN_PRECISION = 0.5


def content_words(text: str) -> list[str]:
    """The words of a text that say something.

    >>> content_words("A man in his red shirt")
    ['man', 'red', 'shirt']
    """
    silent = {*FUNCTION_WORDS, SPECIAL[UNKNOWN]}
    return [word for word in tokenize(text) if word not in silent]


def is_region_correct(caption: str, phrases: Sequence[str]) -> bool | None:
    """Whether a region's caption is right; None where no phrase has a content word.

    >>> # 1 shared; precision 1/2, recall 1: F1 = 2/3
    >>> is_region_correct("a red shirt", ["his shirt"])
    True
    """
    references = []
    for phrase in phrases:
        phrase_words = content_words(phrase)
        if phrase_words:
            references.append(Counter(phrase_words))
    if not references:
        return None
    words = Counter(content_words(caption))
    f1_scores = []
    for reference in references:
        shared = (words & reference).total()
        f1_scores.append(shared * 2 / (words.total() + reference.total()))
    return max(f1_scores) >= MIN_F1


def is_photo_correct(caption: str, sentences: Sequence[str]) -> bool | None:
    """Whether a whole photo's caption is right; None where no sentence has a content word.

    >>> is_photo_correct("a dog on the moon", ["A dog runs."])  # one of two words
    True
    """
    known: set[str] = set()
    for sentence in sentences:
        known.update(content_words(sentence))
    if not known:
        return None
    words = content_words(caption)
    return (
        bool(words)
        and sum(word in known for word in words) / len(words) >= MIN_PRECISION
    )


def confidence_charts(
    calibration: Calibration,
    judged: Sequence[tuple[str, ScoredCaption, bool | None]],
    resamples: int = 1000,
) -> list[Chart]:
    """How the model's own confidence holds.

    And which confidences it gives to right and to wrong captions.

    Args:
        calibration: of this kind of caption.
        judged: photo, caption, and whether it is right; those that cannot be judged are left out.
        resamples: bootstrap draws of photos.
    """
    photos: list[str] = []
    confidences: list[float] = []
    truths: list[bool] = []
    groups: dict[str, list[float]] = {"right": [], "wrong": []}
    for photo, caption, is_correct in judged:
        if is_correct is None:
            continue
        confidence = confidence_of(calibration, caption)
        photos.append(photo)
        confidences.append(confidence)
        truths.append(is_correct)
        groups["right" if is_correct else "wrong"].append(confidence)
    if not photos:
        return []
    fit = reliability(confidences, truths, photos, resamples=resamples)
    error = fit.error
    name = f"calibration error {error.value:.3f} ({error.low:.3f} to {error.high:.3f})"
    return [
        reliability_chart("Reliability of the confidences", {name: fit}),
        histogram("Confidences of right and of wrong captions", "confidence", groups),
    ]
