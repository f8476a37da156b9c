"""Caption photos: `python examples/demo.py [PHOTO]` writes out/demo.jpg and out/demo.json.

Without a photo, four that come with scikit-image are captioned and drawn as one sheet.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from regiontalk import ImageResult, RegionCaptioner, draw, open_image
from regiontalk.drawing.draw import contact_sheet

OUT = Path("out")
PACKAGED = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def packaged_photos() -> list[Path]:
    """The photos that come with scikit-image, as far as they are there."""
    spec = find_spec("skimage")
    folders = [
        Path(folder) / "data"
        for folder in (spec.submodule_search_locations or [] if spec else [])
    ]
    photos = [
        folder / name
        for folder in folders
        for name in PACKAGED
        if (folder / name).is_file()
    ]
    if not photos:
        raise SystemExit(
            "no photo: give one, `make demo PHOTO=path`, or install scikit-image, which brings some"
        )
    return photos


def describe(result: ImageResult) -> list[str]:
    """A result as lines to read: the photo's sentence, then the regions with words."""
    lines = [
        f"{Path(result.photo).name}: {result.caption.hedged_text if result.caption else None}"
    ]
    for region in result.regions:
        if region.text:
            corners = ",".join(f"{value:.0f}" for value in region.box)
            lines.append(f"  {corners}: {region.text} ({region.confidence:.0%} sure)")
    return lines


def main() -> None:
    """Caption, draw, write, and say where."""
    photos = [Path(argument) for argument in sys.argv[1:]] or packaged_photos()
    try:
        images = [open_image(photo) for photo in photos]
    except ValueError as error:
        raise SystemExit(f"demo: {error}") from error
    results = RegionCaptioner.from_pretrained("mini").caption_many(photos)
    drawn = [draw(image, result) for image, result in zip(images, results, strict=True)]
    sheet = drawn[0] if len(drawn) == 1 else contact_sheet(drawn, columns=2, cell=640)
    documents = [result.to_dict() for result in results]
    OUT.mkdir(exist_ok=True)
    sheet.convert("RGB").save(OUT / "demo.jpg", quality=92)
    text = json.dumps(documents[0] if len(documents) == 1 else documents, indent=2)
    (OUT / "demo.json").write_text(text + "\n", encoding="utf-8")
    for result in results:
        print("\n".join(describe(result)))
    print(f"wrote {OUT / 'demo.jpg'} and {OUT / 'demo.json'}")


if __name__ == "__main__":
    main()
