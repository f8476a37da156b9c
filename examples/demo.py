"""Caption a photo: `python examples/demo.py [PHOTO]` writes out/demo.jpg and out/demo.json."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from regiontalk import RegionCaptioner
from regiontalk.drawing.draw import draw
from regiontalk.images.open import open_image

OUT = Path("out")


def packaged_photo() -> Path:
    """A photo that comes with scikit-image."""
    spec = find_spec("skimage")
    for folder in spec.submodule_search_locations or [] if spec else []:
        for name in ("astronaut.png", "coffee.png", "chelsea.png"):
            if (Path(folder) / "data" / name).is_file():
                return Path(folder) / "data" / name
    raise SystemExit("no photo: give one, `make demo PHOTO=path`, or install scikit-image, which brings some")


def main() -> None:
    """Caption, draw, write, and say where."""
    photo = Path(sys.argv[1]) if len(sys.argv) > 1 else packaged_photo()
    try:
        image = open_image(photo)
    except ValueError as error:
        raise SystemExit(f"demo: {error}") from error
    result = RegionCaptioner.from_pretrained("mini").caption(photo)
    OUT.mkdir(exist_ok=True)
    draw(image, result).save(OUT / "demo.jpg", quality=92)
    (OUT / "demo.json").write_text(json.dumps(result.to_dict(), indent=2) + "\n", encoding="utf-8")
    print(f"{photo}: {result.caption.text if result.caption else None}")
    for region in result.regions:
        print(f"  {','.join(f'{value:.0f}' for value in region.box)}: {region.text or '[not sure]'}")
    print(f"wrote {OUT / 'demo.jpg'} and {OUT / 'demo.json'}")


if __name__ == "__main__":
    main()
