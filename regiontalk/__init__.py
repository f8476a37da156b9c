"""RegionTalk: point at any part of a photo and get words; give it words and get the place.

The public names are imported when they are first used, so that `import regiontalk` and
``regiontalk --help`` need no torch. Type checkers read them from ``__init__.pyi``. No
module of the package may have the name of a public function.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "captioner": ["RegionCaptioner"],
        "drawing.draw": ["draw"],
        "images.open": ["ImageError", "open_image"],
        "model.region_model": ["RegionModel"],
        "records": [
            "Example",
            "ImageResult",
            "PhraseMatch",
            "RegionCaption",
            "RegionSnippet",
            "Regions",
        ],
    },
)
