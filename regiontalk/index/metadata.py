"""Which model made a library: the record that stands in the table's own metadata."""

from __future__ import annotations

from dataclasses import dataclass

from regiontalk.runtime.predictor import Predictor

FORMAT = 2
KEY = b"regiontalk"  # of the table's metadata


@dataclass(frozen=True)
class About:
    """What a library was made by; stands in the table's own metadata.

    Attributes:
        model: the model's name, for people.
        fingerprint: hash of its weights, words and sizes; how it decodes is no part of it.
        size: D, length of a vector.
        regions: boxes a photo, beside the whole photo.
    """

    model: str
    fingerprint: str
    size: int
    regions: int
    format: int = FORMAT

    @classmethod
    def of(cls, model: Predictor, regions: int) -> About:
        """What a library of this model says.

        Raises:
            ValueError: the model's vectors have no unit length, or ``regions`` is negative.
        """
        if not model.config.aligner.normalise:
            raise ValueError(
                f"index: {model.config.name!r} cannot be indexed: regions are compared "
                "by cosine, and this model's vectors carry meaning in their length; "
                "use a model trained with aligner.normalise = true, such as mini"
            )
        if regions < 0:
            raise ValueError(f"regions: expected 0 or more, got {regions}")
        return cls(
            model.config.name, model.fingerprint(), model.config.aligner.size, regions
        )
