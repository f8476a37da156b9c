"""RegionTalk: point at any part of a photo and get words; give it words and get the place.

The public names are imported when they are first used (PEP 562), so that `import regiontalk` and
``regiontalk --help`` need no torch. No module of the package may have the name of a public
function: the one imported last would win.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regiontalk.captioner import RegionCaptioner
    from regiontalk.drawing.draw import draw
    from regiontalk.images.open import ImageError, open_image
    from regiontalk.model.region_model import RegionModel
    from regiontalk.records import (
        Example,
        ImageResult,
        PhraseMatch,
        RegionCaption,
        Regions,
    )

__version__ = "0.1.0"

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

_HOMES = {
    "captioner": ["RegionCaptioner"],
    "drawing.draw": ["draw"],
    "images.open": ["ImageError", "open_image"],
    "model.region_model": ["RegionModel"],
    "records": ["Example", "ImageResult", "PhraseMatch", "RegionCaption", "Regions"],
}

# a type checker that saw this would take every misspelt name for a public one
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The public name, from the module that holds it; kept, so that this runs once for each."""
        for module, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(
                    import_module(f"{__name__}.{module}"), name
                )
                return value
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}"
        )


def __dir__() -> list[str]:
    """The public names and what Python keeps in every module."""
    return sorted({*globals(), *__all__})
