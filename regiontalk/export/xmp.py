"""XMP: alt text, description and image regions, as photo managers and search engines read them.

Regions are written as IPTC `ImageRegion` (Photo Metadata Standard 2019.1 and later;
corner and size) in the role of a subject. On request they are also written as the
Metadata Working Group's `Regions` (guidelines 2.0, 5.9; *centre* and size), with a type
and a description and without a name: photo managers make a person of every region of
that list that has a name. Both are shares of the picture **as it is stored**, before
its EXIF turn; boxes of an `ImageResult` are in the picture as it is seen, so
`stored_box` turns them back.

`packet` adds to what is there: foreign properties and regions stay, and texts that
somebody wrote are kept unless the caller says otherwise. Regions of an earlier run are
replaced, as long as they say what we wrote where we wrote it: their identifier ends in
our box and a hash of our words, so that a region whose words or box a person corrected
stays, and is not said again where it stood.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.dom import minidom
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape, quoteattr

from regiontalk.files import decode_text
from regiontalk.records import ImageResult, RegionCaption

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
_SPACES = {
    "rdf": RDF,
    "dc": DC,
    "Iptc4xmpCore": CORE,
    "Iptc4xmpExt": EXT,
    "mwg-rs": MWG,
    "stArea": AREA,
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
}
_DECLARED = " ".join(
    f"xmlns:{prefix}={quoteattr(address)}" for prefix, address in _SPACES.items()
)
_OURS = "regiontalk-"  # begins the identifier of every region that we write
# And ends it: our box in ten-thousandths of the picture, and a hash of our words.
_WRITTEN = re.compile(r"(?:-(\d+)_(\d+)_(\d+)_(\d+))?-([0-9a-f]{8})$")
_SHARES = 10_000
_MOVED = 0.003  # of the picture; less is how other programs round
# intersection over union of a region with one that a person corrected, to be the same
# thing
_SAME = 0.7
_ROLE = "http://cv.iptc.org/newscodes/imageregionrole/subjectArea"
_XML_DECLARATION = re.compile(r"^<\?xml\s[^>]*\?>")
_MARKS = ((EXT, "rId"), (DC, "identifier"))  # where that identifier stands
_EMPTY = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta>'
# Where a point (u, v) of the picture as it is seen lies in the picture as it is stored, by EXIF
# orientation.
_TURNS: dict[int, Callable[[float, float], tuple[float, float]]] = {
    1: lambda u, v: (u, v),
    2: lambda u, v: (1 - u, v),
    3: lambda u, v: (1 - u, 1 - v),
    4: lambda u, v: (u, 1 - v),
    5: lambda u, v: (v, u),
    6: lambda u, v: (v, 1 - u),
    7: lambda u, v: (1 - v, 1 - u),
    8: lambda u, v: (1 - v, u),
}


Shares = tuple[float, float, float, float]  # x1, y1, x2, y2 of the stored picture, 0..1


@dataclass(frozen=True)
class Texts:
    """What is written about a whole photo; an empty text is not written.

    Attributes:
        description: one sentence (``dc:description``).
        alt: for people who do not see the photo (``Iptc4xmpCore:AltTextAccessibility``).
        extended: the same at length (``Iptc4xmpCore:ExtDescrAccessibility``).
    """

    description: str = ""
    alt: str = ""
    extended: str = ""

    def properties(self) -> Iterator[tuple[str, str, str, str]]:
        """Namespace, prefix, name and words of each text that there is."""
        for address, prefix, name, words in (
            (DC, "dc", "description", self.description),
            (CORE, "Iptc4xmpCore", "AltTextAccessibility", self.alt),
            (CORE, "Iptc4xmpCore", "ExtDescrAccessibility", self.extended),
        ):
            if words:
                yield address, prefix, name, words


def packet(
    result: ImageResult,
    texts: Texts,
    existing: bytes | None = None,
    *,
    orientation: int = 1,
    replace: bool = False,
    mwg: bool = False,
) -> bytes:
    """An XMP packet in UTF-8 with the texts, and the regions that have words.

    They are added to an existing packet.

    Args:
        result: boxes in pixels of the picture as it is seen.
        texts: about the whole photo.
        existing: the photo's or the sidecar's packet; None or empty begins a new one.
        orientation: the EXIF orientation of the stored picture, 1 to 8.
        replace: put our texts in place of those that are there.
        mwg: write the regions of the Metadata Working Group too.

    Raises:
        ValueError: the existing packet cannot be read.
    """
    document = _parsed(existing)
    root = next(iter(document.getElementsByTagNameNS(RDF, "RDF")), None)
    if root is None:
        raise ValueError(
            "XMP: expected an rdf:RDF element in the metadata that is there, got none; "
            "remove it first"
        )
    rdf: minidom.Element = root
    about = next((node.getAttributeNS(RDF, "about") for node in _descriptions(rdf)), "")
    corrected = _remove_ours(rdf)
    properties = list(_add_texts(rdf, texts, replace))
    regions = []
    for region in result.regions:
        box = stored_box(region.box, result.size_wh, orientation)
        if region.text and not _is_among(box, corrected):
            regions.append((region, box))
    properties += _add_regions(rdf, result, regions, orientation, mwg)
    if properties:
        block = (
            f"<rdf:Description rdf:about={quoteattr(about)} {_DECLARED}>"
            f"{''.join(properties)}</rdf:Description>"
        )
        rdf.appendChild(_fragment(block))
    head, tail = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
        '<?xpacket end="w"?>',
    )
    return f"{head}\n{_root(document).toxml()}\n{tail}".encode()


def _add_texts(rdf: minidom.Element, texts: Texts, replace: bool) -> Iterator[str]:
    """The properties of the texts that are not there, or take the place of those that are."""
    for address, prefix, name, words in texts.properties():
        if replace:
            _remove_property(rdf, address, name)
        if not _has(rdf, address, name):
            yield _language(f"{prefix}:{name}", words)


def stored_box(
    box: tuple[float, float, float, float],
    size_wh: tuple[int, int],
    orientation: int = 1,
) -> tuple[float, float, float, float]:
    """A box of the picture as seen, as shares x1, y1, x2, y2 of the stored picture.

    The shares are in 0..1.

    >>> stored_box((0, 0, 50, 20), (100, 200), 6)  # held upright, stored lying on its left side
    (0.0, 0.5, 0.1, 1.0)
    """
    turn = _TURNS.get(orientation, _TURNS[1])
    width, height = size_wh
    first_x, first_y = turn(box[0] / width, box[1] / height)
    second_x, second_y = turn(box[2] / width, box[3] / height)
    x1, x2 = sorted((first_x, second_x))
    y1, y2 = sorted((first_y, second_y))
    return x1, y1, x2, y2


def person_regions(
    existing: bytes, size_wh: tuple[int, int], orientation: int = 1
) -> list[tuple[Shares, str]]:
    """The IPTC regions whose words a person wrote.

    Those that we did not write, and ours that were corrected.

    Args:
        existing: a packet.
        size_wh: width and height of the picture as it is seen, in pixels.
        orientation: the EXIF orientation of the stored picture, 1 to 8.

    Returns:
        x1, y1, x2, y2 in pixels of the picture as it is seen, and the words of each;
        rectangles only.

    Raises:
        ValueError: the packet cannot be read.
    """
    document = _parsed(existing)
    rows: list[tuple[Shares, str]] = []
    for listed in document.getElementsByTagNameNS(EXT, "ImageRegion"):
        for item in listed.getElementsByTagNameNS(RDF, "li"):
            box, words = _region_box(item), _region_words(item)
            bag = item.parentNode
            if box is None or not words or bag is None or bag.parentNode is not listed:
                continue
            marks = (
                _our_mark(node) for node in (item, *item.getElementsByTagName("*"))
            )
            mark = next(filter(None, marks), "")
            boxes = [
                written for written in (_written_box(mark), box) if written is not None
            ]
            if not mark or _has_other_words(item, mark) or _is_moved(boxes):
                rows.append((_seen_box(box, size_wh, orientation), words))
    return rows


def _region_words(item: minidom.Element) -> str:
    """The name of a region, in one line."""
    names = [
        node for node in item.getElementsByTagNameNS(EXT, "Name") if not _is_role(node)
    ]
    text = item.getAttributeNS(EXT, "Name")
    if names:
        text = "".join(_all_text(names[0]))
    return " ".join(text.split())


def _seen_box(shares: Shares, size_wh: tuple[int, int], orientation: int) -> Shares:
    """The inverse of `stored_box`."""
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others undo themselves
    x1, y1, x2, y2 = stored_box(shares, (1, 1), back)
    wide, high = size_wh
    return x1 * wide, y1 * high, x2 * wide, y2 * high


def _parsed(existing: bytes | None) -> minidom.Document:
    text = decode_text(existing or b"").strip("\ufeff\x00 \r\n\t")
    text = _XML_DECLARATION.sub("", text)  # its encoding is no longer true
    # never part of XMP; entities can be made to grow without end
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError(
            "XMP: the metadata that is there declares entities, which XMP does not "
            "allow; remove it first"
        )
    try:
        return minidom.parseString((text or _EMPTY).encode("utf-8", "replace"))
    except (ExpatError, ValueError) as error:
        raise ValueError(
            f"XMP: the metadata that is there is damaged ({error}); remove it first"
        ) from error


def _fragment(text: str) -> minidom.Element:
    return _root(minidom.parseString(text.encode()))


def _root(document: minidom.Document) -> minidom.Element:
    root = document.documentElement
    if root is None:
        raise ValueError("XMP: expected an XML document with a root element")
    return root


def _detach(node: minidom.Element) -> None:
    """Take an element out of its document."""
    if node.parentNode is not None:
        node.parentNode.removeChild(node)


def _children(node: minidom.Node) -> list[minidom.Element]:
    return [child for child in node.childNodes if child.nodeType == child.ELEMENT_NODE]


def _descriptions(rdf: minidom.Element) -> list[minidom.Element]:
    """The top-level blocks, whose children are the properties."""
    return [
        node
        for node in _children(rdf)
        if (node.namespaceURI, node.localName) == (RDF, "Description")
    ]


def _property(rdf: minidom.Element, address: str, name: str) -> minidom.Element | None:
    """The element of a property, wherever it stands; None where there is none."""
    for block in _descriptions(rdf):
        for node in _children(block):
            if (node.namespaceURI, node.localName) == (address, name):
                return node
    return None


def _has(rdf: minidom.Element, address: str, name: str) -> bool:
    """Whether a property is there with a value.

    As an element or, for plain text, as an attribute.
    """
    element = _property(rdf, address, name)
    if element is not None:
        if "".join(_all_text(element)).strip():
            return True
        _detach(element)  # an empty one would stand beside ours
    return any(block.getAttributeNS(address, name) for block in _descriptions(rdf))


def _all_text(node: minidom.Node) -> Iterator[str]:
    for child in node.childNodes:
        if child.nodeType == child.TEXT_NODE:
            yield child.data
        else:
            yield from _all_text(child)


def _remove_property(rdf: minidom.Element, address: str, name: str) -> None:
    for block in _descriptions(rdf):
        if block.hasAttributeNS(address, name):
            block.removeAttributeNS(address, name)
    while (element := _property(rdf, address, name)) is not None:
        _detach(element)


def _remove_ours(rdf: minidom.Element) -> list[Shares]:
    """Take out the regions of an earlier run, of either kind.

    Those that a person corrected stay.

    Returns:
        Where those that stay are, and where we had put them, as shares of the stored picture.
    """
    corrected: list[Shares] = []
    for node in list(rdf.getElementsByTagName("*")):
        if not (mark := _our_mark(node)):
            continue
        item: minidom.Node | None = node
        while isinstance(item, minidom.Element) and item.localName != "li":
            item = item.parentNode
        if not isinstance(item, minidom.Element) or item.parentNode is None:
            continue
        boxes = [
            box for box in (_written_box(mark), _region_box(item)) if box is not None
        ]
        if _has_other_words(item, mark) or _is_moved(boxes):
            corrected += boxes
        else:
            _detach(item)
    return corrected


def _our_mark(node: minidom.Element) -> str:
    """The identifier of ours that an element is or has.

    Adobe's programs turn simple elements into attributes.
    """
    for mark in _MARKS:
        if (value := node.getAttributeNS(*mark)).startswith(_OURS):
            return value
    text = (
        "".join(_all_text(node)).strip()
        if (node.namespaceURI, node.localName) in _MARKS
        else ""
    )
    return text if text.startswith(_OURS) else ""


def _has_other_words(item: minidom.Element, mark: str) -> bool:
    """Whether a region no longer says what we wrote.

    One without a hash is of an earlier version, and ours.
    """
    match = _WRITTEN.search(mark)
    if match is None:
        return False
    words = ""
    for address, name in ((EXT, "Name"), (MWG, "Name"), (MWG, "Description")):
        texts = [
            node
            for node in item.getElementsByTagNameNS(address, name)
            if not _is_role(node)
        ]
        words = words or "".join(_all_text(texts[0]) if texts else "").strip()
        words = words or item.getAttributeNS(address, name).strip()
    return _hash(words) != match[5]


def _is_moved(boxes: Sequence[Shares]) -> bool:
    """Whether our box and the region's own are both there and differ."""
    if len(boxes) < 2:
        return False
    return any(abs(ours - now) > _MOVED for ours, now in zip(*boxes, strict=True))


def _is_role(node: minidom.Element) -> bool:
    """Whether a name is that of a region's role, not of the region."""
    parent: minidom.Node | None = node.parentNode
    while isinstance(parent, minidom.Element):
        if (parent.namespaceURI, parent.localName) == (EXT, "rRole"):
            return True
        parent = parent.parentNode
    return False


def _hash(words: str) -> str:
    return hashlib.sha256(" ".join(words.split()).encode()).hexdigest()[:8]


def _written_box(mark: str) -> Shares | None:
    """Where we put a region, from its identifier; None for one of an earlier version."""
    match = _WRITTEN.search(mark)
    if match is None or match[1] is None:
        return None
    x1, y1, x2, y2 = (int(match[number]) / _SHARES for number in range(1, 5))
    return x1, y1, x2, y2


def _region_box(item: minidom.Element) -> Shares | None:
    """The box of a region of either kind; None where it has another shape."""
    corner = _numbers(item, EXT, ("rbX", "rbY", "rbW", "rbH"))
    if corner is not None:
        x, y, width, height = corner
        return x, y, x + width, y + height
    centre = _numbers(item, AREA, ("x", "y", "w", "h"))
    if centre is not None:
        x, y, width, height = centre
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return None


def _numbers(
    item: minidom.Element, address: str, names: Sequence[str]
) -> list[float] | None:
    """The numbers of these names inside an element, as elements or attributes.

    None where one is lacking.
    """
    numbers = []
    for name in names:
        nodes = item.getElementsByTagNameNS(address, name)
        text = "".join(_all_text(nodes[0])) if nodes else ""
        for node in item.getElementsByTagName("*"):
            text = text or node.getAttributeNS(address, name)
        try:
            numbers.append(float(text))
        except ValueError:
            return None
    return numbers


def _is_among(box: Shares, corrected: Sequence[Shares]) -> bool:
    """Whether a box is that of a region which a person corrected."""
    for corrected_box in corrected:
        wide = min(box[2], corrected_box[2]) - max(box[0], corrected_box[0])
        high = min(box[3], corrected_box[3]) - max(box[1], corrected_box[1])
        shared = max(wide, 0.0) * max(high, 0.0)
        areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (box, corrected_box)]
        if shared > _SAME * (sum(areas) - shared):
            return True
    return False


def _add_regions(
    rdf: minidom.Element,
    result: ImageResult,
    regions: Sequence[tuple[RegionCaption, Shares]],
    orientation: int,
    mwg: bool,
) -> Iterator[str]:
    """Put regions into the lists that are there.

    Yields the properties that have to be made anew.
    """
    if not regions:
        return
    rows = []
    for number, (region, box) in enumerate(regions, 1):
        rows.append((region, box, _region_name(result.model, number, region, box)))
    iptc_items = [_iptc_region(*row) for row in rows]
    if not _append(_property(rdf, EXT, "ImageRegion"), iptc_items):
        bag = f"<rdf:Bag>{''.join(iptc_items)}</rdf:Bag>"
        yield f"<Iptc4xmpExt:ImageRegion>{bag}</Iptc4xmpExt:ImageRegion>"
    if not mwg:
        return
    mwg_items = [_mwg_region(*row) for row in rows]
    stored = _property(rdf, MWG, "Regions")
    lists = (
        stored.getElementsByTagNameNS(MWG, "RegionList") if stored is not None else []
    )
    if not _append(lists[0] if lists else None, mwg_items):
        if stored is not None:
            _detach(stored)
        yield _mwg_regions(
            mwg_items, result.size_wh if orientation < 5 else result.size_wh[::-1]
        )


def _region_name(model: str, number: int, region: RegionCaption, box: Shares) -> str:
    """The identifier of a region of ours: who wrote it, where, and a hash of which words."""
    written_box = "_".join(
        str(round(_SHARES * min(max(share, 0.0), 1.0))) for share in box
    )
    return f"{_OURS}{model}-{number}-{written_box}-{_hash(region.text or '')}"


def _mwg_regions(items: Sequence[str], size_wh: tuple[int, int]) -> str:
    """The property that lists regions in the Metadata Working Group's form.

    For a photo as it is stored.
    """
    width, height = size_wh
    dimensions = f"<stDim:w>{width}</stDim:w><stDim:h>{height}</stDim:h>"
    return (
        '<mwg-rs:Regions rdf:parseType="Resource">'
        '<mwg-rs:AppliedToDimensions rdf:parseType="Resource">'
        f"{dimensions}<stDim:unit>pixel</stDim:unit>"
        "</mwg-rs:AppliedToDimensions>"
        f"<mwg-rs:RegionList><rdf:Bag>{''.join(items)}</rdf:Bag></mwg-rs:RegionList>"
        "</mwg-rs:Regions>"
    )


def _append(listed: minidom.Element | None, items: Sequence[str]) -> bool:
    """Put items into the bag of a property; False where there is no bag."""
    bag = next(iter(_children(listed)), None) if listed is not None else None
    if bag is None or bag.namespaceURI != RDF or bag.localName not in ("Bag", "Seq"):
        if listed is not None and listed.localName == "ImageRegion":
            _detach(listed)
        return False
    # the packet that is there may have other names for the namespaces, or none
    for item in items:
        bag.appendChild(_fragment(item.replace("<rdf:li ", f"<rdf:li {_DECLARED} ", 1)))
    return True


def _language(name: str, words: str) -> str:
    """A text property in the one language that we speak."""
    item = f'<rdf:li xml:lang="x-default">{escape(words)}</rdf:li>'
    return f"<{name}><rdf:Alt>{item}</rdf:Alt></{name}>"


def _iptc_region(
    region: RegionCaption, box: tuple[float, float, float, float], name: str
) -> str:
    x1, y1, x2, y2 = box
    places = (("rbX", x1), ("rbY", y1), ("rbW", x2 - x1), ("rbH", y2 - y1))
    numbers = "".join(
        f"<Iptc4xmpExt:{key}>{value:.6f}</Iptc4xmpExt:{key}>" for key, value in places
    )
    return (
        f'<rdf:li rdf:parseType="Resource"><Iptc4xmpExt:RegionBoundary rdf:parseType="Resource">'
        "<Iptc4xmpExt:rbShape>rectangle</Iptc4xmpExt:rbShape>"
        "<Iptc4xmpExt:rbUnit>relative</Iptc4xmpExt:rbUnit>"
        f"{numbers}</Iptc4xmpExt:RegionBoundary><Iptc4xmpExt:rId>{escape(name)}</Iptc4xmpExt:rId>"
        f"{_language('Iptc4xmpExt:Name', region.text or '')}"
        '<Iptc4xmpExt:rRole><rdf:Bag><rdf:li rdf:parseType="Resource"><xmp:Identifier><rdf:Bag>'
        f"<rdf:li>{_ROLE}</rdf:li></rdf:Bag></xmp:Identifier></rdf:li></rdf:Bag>"
        "</Iptc4xmpExt:rRole></rdf:li>"
    )


def _mwg_region(
    region: RegionCaption, box: tuple[float, float, float, float], name: str
) -> str:
    x1, y1, x2, y2 = box
    places = (
        ("x", (x1 + x2) / 2),
        ("y", (y1 + y2) / 2),
        ("w", x2 - x1),
        ("h", y2 - y1),
    )
    numbers = "".join(
        f"<stArea:{key}>{value:.6f}</stArea:{key}>" for key, value in places
    )
    return (
        f'<rdf:li rdf:parseType="Resource"><mwg-rs:Area rdf:parseType="Resource">{numbers}'
        f"<stArea:unit>normalized</stArea:unit></mwg-rs:Area><mwg-rs:Type>Object</mwg-rs:Type>"
        f"<mwg-rs:Description>{escape(region.text or '')}</mwg-rs:Description>"
        '<mwg-rs:Extensions rdf:parseType="Resource">'
        f"<dc:identifier>{escape(name)}</dc:identifier></mwg-rs:Extensions></rdf:li>"
    )
