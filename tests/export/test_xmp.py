"""XMP packets: read back by another parser.

Merged with what is there, turned as the photo is stored.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontalk.export import xmp
from regiontalk.export.xmp import CORE, DC, EXT, MWG, RDF, Texts, stored_box
from regiontalk.records import ImageResult, RegionCaption

packet = partial(xmp.packet, mwg=True)  # both lists of regions
AREA, DIMENSIONS = (
    "http://ns.adobe.com/xmp/sType/Area#",
    "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
)
TEXTS = Texts("A dog runs.", "A dog runs & jumps.", "A dog runs. On the left, a ball.")
RESULT = ImageResult(
    "a.jpg",
    (200, 100),
    "mini",
    regions=(
        RegionCaption((20, 10, 60, 50), "a <red> ball", 0.7),
        RegionCaption((0, 0, 9, 9), None, 0.1),
        RegionCaption((100, 0, 200, 100), "a dog", 0.9),
    ),
)
# A packet as photo managers write them: a face in MWG regions, a rating as an attribute, a
# description, other names
FOREIGN = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="{RDF}">
<r:Description r:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
  xmlns:m="{MWG}" xmlns:a="{AREA}" xmlns:d="{DC}">
 <d:description><r:Alt><r:li xml:lang="x-default">Our dog Rex</r:li></r:Alt></d:description>
 <m:Regions r:parseType="Resource"><m:RegionList><r:Bag><r:li>
  <r:Description m:Name="Anna" m:Type="Face">
   <m:Area a:x="0.5" a:y="0.5" a:w="0.1" a:h="0.1" a:unit="normalized"/>
  </r:Description></r:li></r:Bag></m:RegionList>
 </m:Regions>
</r:Description></r:RDF></x:xmpmeta>
<?xpacket end="w"?>""".encode()


def read(data: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(data)


def text(tree: ElementTree.Element, address: str, name: str) -> list[str]:
    """The words of a language property."""
    return [
        "".join(node.itertext()).strip() for node in tree.iter(f"{{{address}}}{name}")
    ]


def iptc_boxes(tree: ElementTree.Element) -> dict[str, list[float]]:
    """Name -> x, y, width, height."""
    found = {}
    for item in tree.findall(f".//{{{EXT}}}ImageRegion/{{{RDF}}}Bag/{{{RDF}}}li"):
        (name,) = text(item, EXT, "Name")
        assert text(item, EXT, "rbShape") == ["rectangle"] and text(
            item, EXT, "rbUnit"
        ) == ["relative"]
        found[name] = [
            float(text(item, EXT, key)[0]) for key in ("rbX", "rbY", "rbW", "rbH")
        ]
    return found


def mwg_boxes(tree: ElementTree.Element) -> dict[str, list[float]]:
    """Name -> centre x, centre y, width, height."""
    found = {}
    for item in tree.findall(
        f".//{{{MWG}}}Regions/{{{MWG}}}RegionList/{{{RDF}}}Bag/{{{RDF}}}li"
    ):
        if text(item, MWG, "Description"):
            assert text(item, MWG, "Type") == ["Object"] and not text(item, MWG, "Name")
            found[text(item, MWG, "Description")[0]] = [
                float(text(item, AREA, key)[0]) for key in "xywh"
            ]
    return found


def test_new_packet() -> None:
    data = packet(RESULT, TEXTS)
    assert data.startswith(b"<?xpacket begin=") and data.endswith(
        b'<?xpacket end="w"?>'
    )
    tree = read(data)
    assert text(tree, DC, "description") == ["A dog runs."]
    assert text(tree, CORE, "AltTextAccessibility") == ["A dog runs & jumps."]
    assert text(tree, CORE, "ExtDescrAccessibility") == [
        "A dog runs. On the left, a ball."
    ]
    # 20..60 of 200 and 10..50 of 100; the box without words is not written
    assert iptc_boxes(tree) == {
        "a <red> ball": [0.1, 0.1, 0.2, 0.4],
        "a dog": [0.5, 0, 0.5, 1],
    }
    assert mwg_boxes(tree) == {
        "a <red> ball": [0.2, 0.3, 0.2, 0.4],
        "a dog": [0.75, 0.5, 0.5, 1],
    }
    assert text(tree, DIMENSIONS, "w") == ["200"] and text(tree, DIMENSIONS, "h") == [
        "100"
    ]


def test_nothing_to_write() -> None:
    tree = read(packet(ImageResult("a.jpg", (2, 2), "mini"), Texts()))
    assert not list(tree.iter(f"{{{RDF}}}Description"))


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_what_is_there_is_kept(again: bool) -> None:
    data = packet(RESULT, TEXTS, FOREIGN)
    tree = read(packet(RESULT, TEXTS, data) if again else data)
    assert text(tree, DC, "description") == ["Our dog Rex"]
    assert text(tree, CORE, "AltTextAccessibility") == ["A dog runs & jumps."]
    rating = "{http://ns.adobe.com/xap/1.0/}Rating"
    assert next(node.get(rating) for node in tree.iter(f"{{{RDF}}}Description")) == "4"
    names = [
        node.get(f"{{{MWG}}}Name") for node in tree.iter() if node.get(f"{{{MWG}}}Name")
    ]
    assert names == ["Anna"] and list(mwg_boxes(tree)) == list(iptc_boxes(tree)) == [
        "a <red> ball",
        "a dog",
    ]
    assert (
        len(list(tree.iter(f"{{{MWG}}}Regions")))
        == len(list(tree.iter(f"{{{EXT}}}ImageRegion")))
        == 1
    )
    about = {
        node.get(f"{{{RDF}}}about")
        for node in tree.findall(f".//{{{RDF}}}RDF/{{{RDF}}}Description")
    }
    assert about == {"uuid:1"}


def test_replace() -> None:
    tree = read(packet(RESULT, TEXTS, FOREIGN, replace=True))
    assert text(tree, DC, "description") == ["A dog runs."]
    tree = read(packet(RESULT, Texts("A cat."), packet(RESULT, TEXTS), replace=True))
    assert (
        text(tree, DC, "description") == ["A cat."]
        and len(text(tree, CORE, "AltTextAccessibility")) == 1
    )


def test_the_regions_of_an_earlier_run_go() -> None:
    fewer = ImageResult("a.jpg", (200, 100), "other", regions=RESULT.regions[2:])
    tree = read(packet(fewer, TEXTS, packet(RESULT, TEXTS, FOREIGN)))
    assert list(mwg_boxes(tree)) == list(iptc_boxes(tree)) == ["a dog"]


def as_adobe_writes(data: bytes) -> bytes:
    """The same packet with the simple fields of structures as attributes."""
    tree = read(data)
    parents = {child: parent for parent in tree.iter() for child in parent}
    for field in (f"{{{EXT}}}rId", f"{{{DC}}}identifier"):
        for node in list(tree.iter(field)):
            parent = parents[node]
            parent.remove(node)
            parent.attrib.pop(f"{{{RDF}}}parseType", None)
            inner = ElementTree.Element(
                f"{{{RDF}}}Description", {field: node.text or ""}
            )
            inner.extend(list(parent))
            for child in list(parent):
                parent.remove(child)
            parent.append(inner)
    return ElementTree.tostring(tree)


def test_the_regions_of_an_earlier_run_go_that_adobe_has_rewritten() -> None:
    rewritten = as_adobe_writes(packet(RESULT, TEXTS, FOREIGN))
    assert (
        b'rId="regiontalk-mini-1-' in rewritten
        and b'identifier="regiontalk-mini-1-' in rewritten
    )
    tree = read(packet(RESULT, TEXTS, rewritten))
    assert len(tree.findall(f".//{{{EXT}}}ImageRegion/{{{RDF}}}Bag/{{{RDF}}}li")) == 2
    # with Anna
    assert len(tree.findall(f".//{{{MWG}}}RegionList/{{{RDF}}}Bag/{{{RDF}}}li")) == 3


@pytest.mark.parametrize(
    ("existing", "message"),
    [
        pytest.param(b"<x:xmpmeta", "damaged", id="cut short"),
        pytest.param(b"<a/>", "expected an rdf:RDF element", id="another document"),
        pytest.param(
            b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
            "declares entities",
            id="entities",
        ),
    ],
)
def test_refused(existing: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        packet(RESULT, TEXTS, existing)


@pytest.mark.parametrize("existing", [None, b"", b"\x00\x00", b"  \n"])
def test_empty_packets(existing: bytes | None) -> None:
    assert iptc_boxes(read(packet(RESULT, TEXTS, existing)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_box(orientation: int) -> None:
    """A marked rectangle of the stored picture is found where it is stored.

    It is seen through Pillow's own turn.
    """
    from PIL import ImageOps

    stored = np.zeros((40, 60), dtype=np.uint8)
    stored[4:12, 30:48] = 255  # x 30..48 of 60, y 4..12 of 40
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    seen = np.asarray(ImageOps.exif_transpose(picture))
    rows, columns = np.nonzero(seen)
    box: Any = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    found = stored_box(box, (seen.shape[1], seen.shape[0]), orientation)
    np.testing.assert_allclose(found, (30 / 60, 4 / 40, 48 / 60, 12 / 40))
    tree = read(
        packet(
            ImageResult(
                "a", seen.shape[::-1], "m", regions=(RegionCaption(box, "x", 1),)
            ),
            Texts(),
            orientation=orientation,
        )
    )
    assert (text(tree, DIMENSIONS, "w"), text(tree, DIMENSIONS, "h")) == (
        ["60"],
        ["40"],
    )


def test_an_unknown_orientation_is_none() -> None:
    assert stored_box((0, 0, 1, 1), (2, 2), 77) == (0, 0, 0.5, 0.5)


def test_things_are_no_people() -> None:
    """Photo managers make a person of every named region.

    Of those in the Metadata Working Group's form.
    """
    tree = read(xmp.packet(RESULT, TEXTS))
    assert not list(tree.iter(f"{{{MWG}}}Regions")) and len(iptc_boxes(tree)) == 2
    roles = [
        node
        for node in tree.iter(f"{{{RDF}}}li")
        if (node.text or "").endswith("subjectArea")
    ]
    assert len(roles) == 2


@pytest.mark.parametrize("adobe", [False, True], ids=["plain", "as Adobe writes"])
def test_a_corrected_region_stays(adobe: bool) -> None:
    written = xmp.packet(RESULT, TEXTS).replace(
        b"a &lt;red&gt; ball", b"the ball of Rex"
    )
    tree = read(
        xmp.packet(RESULT, TEXTS, as_adobe_writes(written) if adobe else written)
    )
    assert iptc_boxes(tree) == {
        "the ball of Rex": [0.1, 0.1, 0.2, 0.4],
        "a dog": [0.5, 0, 0.5, 1],
    }


def moved(data: bytes, shift: float) -> bytes:
    """The packet with the ball's box of both kinds moved to the right."""
    for name, value in (("Iptc4xmpExt:rbX", 0.1), ("stArea:x", 0.2)):
        before, after = (f"<{name}>{number:.6f}<" for number in (value, value + shift))
        assert before.encode() in data
        data = data.replace(before.encode(), after.encode())
    return data


@pytest.mark.parametrize("adobe", [False, True], ids=["plain", "as Adobe writes"])
def test_a_moved_region_stays_and_is_not_said_again_where_it_stood(adobe: bool) -> None:
    written = moved(xmp.packet(RESULT, TEXTS, mwg=True), 0.25)
    for _ in range(2):  # nor by the run after the next
        written = xmp.packet(
            RESULT, TEXTS, as_adobe_writes(written) if adobe else written, mwg=True
        )
    tree = read(written)
    assert iptc_boxes(tree) == {
        "a <red> ball": [0.35, 0.1, 0.2, 0.4],
        "a dog": [0.5, 0, 0.5, 1],
    }
    assert mwg_boxes(tree) == {
        "a <red> ball": [0.45, 0.3, 0.2, 0.4],
        "a dog": [0.75, 0.5, 0.5, 1],
    }
    assert len(tree.findall(f".//{{{EXT}}}ImageRegion/{{{RDF}}}Bag/{{{RDF}}}li")) == 2
    assert len(tree.findall(f".//{{{MWG}}}RegionList/{{{RDF}}}Bag/{{{RDF}}}li")) == 2


def test_a_rounded_box_is_not_moved() -> None:
    written = moved(xmp.packet(RESULT, TEXTS, mwg=True), 0.001)
    assert (
        iptc_boxes(read(xmp.packet(RESULT, TEXTS, written)))["a <red> ball"][0] == 0.1
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_packets_of_any_encoding(encoding: str) -> None:
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    existing = (head + FOREIGN.decode()).encode(encoding)
    assert text(read(xmp.packet(RESULT, TEXTS, existing)), DC, "description") == [
        "Our dog Rex"
    ]
