"""RegionTalk: point at any part of a photo and get words; give it words and get the place."""

from regiontalk.captioner import RegionCaptioner
from regiontalk.draw import draw
from regiontalk.images import ImageError, open_image
from regiontalk.model import RegionModel
from regiontalk.records import Example, ImageResult, PhraseMatch, RegionCaption, Regions

__all__ = [
    "Example",
    "ImageError",
    "ImageResult",
    "PhraseMatch",
    "RegionCaption",
    "RegionCaptioner",
    "RegionModel",
    "Regions",
    "draw",
    "open_image",
]
