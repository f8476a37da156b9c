"""Alt text: what was said about a photo, as a few sentences for somebody who does not see it.

`narrate` takes an `ImageResult` and returns one text: the whole photo's sentence, then the regions
worth naming from left to right. It is pure and knows no file. Captions of a small model repeat each
other, contradict each other about one thing, and break off; what would confuse a listener is left
out rather than said, and where nothing is said with confidence the text is empty: a wrong alt text
is worse than none.

No array is imported here: the command line has its defaults from here, and answers at once.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from regiontalk.regions.dedupe import merged
from regiontalk.text.nouns import (
    PEOPLE,
    PHRASE_ENDS,
    content_stems,
    kind,
    kind_of,
    singular,
    stem,
    words_of,
)

if TYPE_CHECKING:
    from regiontalk.records import ImageResult, RegionCaption

LIMIT = 250  # characters; listeners lose the thread of longer ones
MIN_CONFIDENCE = 0.25  # confidence below which nothing is said
SHORTEST = 20  # a smaller limit holds no sentence

_COLOURS = frozenset(
    "black white red blue green yellow brown orange pink purple grey gray tan blond "
    "blonde dark bright light".split()
)
_PLURALS = frozenset(
    "men women people children ladies guys kids babies boys girls toddlers adults".split()
)

_NEUTRAL = {
    **dict.fromkeys("man woman guy lady gentleman dude lad gal".split(), "person"),
    **dict.fromkeys(
        "men women guys ladies gentlemen dudes lads gals males females".split(),
        "people",
    ),
    # as captions have it whose apostrophes are lost
    **dict.fromkeys("mans womans".split(), "person's"),
    **dict.fromkeys("boy girl son daughter".split(), "child"),
    **dict.fromkeys("boys girls sons daughters".split(), "children"),
    **dict.fromkeys("father mother mom dad".split(), "parent"),
    **dict.fromkeys("fathers mothers moms dads".split(), "parents"),
    **dict.fromkeys("grandfather grandmother".split(), "grandparent"),
    **dict.fromkeys("brother sister".split(), "sibling"),
    **dict.fromkeys("brothers sisters".split(), "siblings"),
    **dict.fromkeys("husband wife".split(), "spouse"),
    **dict.fromkeys("bride groom".split(), "newlywed"),
    **dict.fromkeys("brides grooms".split(), "newlyweds"),
    **dict.fromkeys("bridesmaid groomsman".split(), "wedding attendant"),
    **dict.fromkeys("bridesmaids groomsmen".split(), "wedding attendants"),
    **dict.fromkeys("policeman policewoman".split(), "police officer"),
    **dict.fromkeys("policemen policewomen".split(), "police officers"),
    **dict.fromkeys("fireman firewoman".split(), "firefighter"),
    **dict.fromkeys("firemen firewomen".split(), "firefighters"),
    **dict.fromkeys("fisherman fisherwoman".split(), "fisher"),
    **dict.fromkeys("fishermen fisherwomen".split(), "fishers"),
    **dict.fromkeys("cowboy cowgirl".split(), "cowhand"),
    **dict.fromkeys("cowboys cowgirls".split(), "cowhands"),
    **dict.fromkeys("cameraman camerawoman".split(), "camera operator"),
    **dict.fromkeys("cameramen camerawomen".split(), "camera operators"),
    **dict.fromkeys("businessman businesswoman".split(), "businessperson"),
    **dict.fromkeys("businessmen businesswomen".split(), "businesspeople"),
    **dict.fromkeys("waiter waitress".split(), "server"),
    **dict.fromkeys("waiters waitresses".split(), "servers"),
    **{
        "batsman": "batter",
        "batsmen": "batters",
        "baseman": "base player",
        "basemen": "base players",
    },
    **dict.fromkeys("he she".split(), "they"),
    **dict.fromkeys("himself herself".split(), "themselves"),
    **{"his": "their", "him": "them", "hers": "theirs"},
}
_COWBOY_THINGS = (
    "hat",
    "hats",
    "boot",
    "boots",
)  # a cowboy hat says nothing of who wears it
_VERBS = {"is": "are", "was": "were", "has": "have", "does": "do"}  # after "they"


def narrate(
    result: ImageResult,
    *,
    limit: int = LIMIT,
    min_confidence: float = MIN_CONFIDENCE,
    neutral: bool = False,
) -> str:
    """An alt text for a photo.

    >>> from regiontalk.records import ImageResult, RegionCaption
    >>> whole = RegionCaption((0, 0, 90, 60), "a dog runs on the beach", 0.8)
    >>> ball = RegionCaption((70, 30, 80, 40), "a red ball", 0.6)
    >>> narrate(ImageResult("a.jpg", (90, 60), "mini", whole, (ball,)))
    'A dog runs on the beach. On the right, a red ball.'

    Args:
        result: from `RegionCaptioner.caption` or `describe`.
        limit: most characters; regions that do not fit are left out, a sentence that does not is
            cut at a word.
        min_confidence: captions less confident than this are not used.
        neutral: person, child, their ... in place of words that guess a sex.

    Returns:
        Sentences, or "" where nothing was said with confidence.

    Raises:
        ValueError: a limit under 20 characters, or a confidence out of range.
    """
    if limit < SHORTEST:
        raise ValueError(f"limit: expected {SHORTEST} characters or more, got {limit}")
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence: expected 0 to 1, got {min_confidence}")
    opening = whole_sentence(result, min_confidence=min_confidence, neutral=neutral)
    if len(opening) > limit:
        return opening[: opening.rfind(" ", 0, limit)].rstrip(" ,;") + "…"
    chosen: list[RegionCaption] = []
    for region in sorted(
        worth_naming(result, min_confidence=min_confidence, neutral=neutral),
        key=lambda region: -region.confidence,
    ):
        if len(_joined(opening, [*chosen, region], result.size_wh[0])) <= limit:
            chosen.append(region)
    return _joined(opening, chosen, result.size_wh[0])


def whole_sentence(
    result: ImageResult,
    *,
    min_confidence: float = MIN_CONFIDENCE,
    neutral: bool = False,
) -> str:
    """The whole photo's caption as a sentence with its full stop.

    It begins with "Perhaps" where the model is not sure of it; "" where there is none with
    confidence.
    """
    if result.caption is None or result.caption.confidence < min_confidence:
        return ""
    text = tidy(result.caption.text, neutral=neutral)
    is_hedged = bool(text) and not result.caption.sure
    return _sentence(f"perhaps {text}" if is_hedged else text)


def worth_naming(
    result: ImageResult,
    *,
    min_confidence: float = MIN_CONFIDENCE,
    neutral: bool = False,
) -> list[RegionCaption]:
    """The regions that tell a listener something new, left to right, their words tidied.

    A thing that the whole photo's sentence has named is not named again, and the same words are
    never said twice.
    """
    sentence = whole_sentence(result, min_confidence=min_confidence, neutral=neutral)
    known, single = set(content_stems(sentence)), _single_things(words_of(sentence))
    if any(kind(word) == "person" for word in words_of(sentence)):
        known |= {stem(word) for word in PEOPLE}  # two boys are two children: no news
    named: list[tuple[frozenset[str], RegionCaption]] = []
    for region in distinct(
        result.regions, min_confidence=min_confidence, neutral=neutral
    ):
        name, about = kind_of(region.text or ""), content_stems(region.text or "")
        # "a man ..." has been said: the best man of the regions is that man
        if name in single:
            single.remove(name)
        elif not about <= known and all(about != words for words, _ in named):
            named.append((about, region))
    return sorted(
        (region for _, region in named),
        key=lambda region: (region.box[0] + region.box[2], region.box[1]),
    )


def distinct(
    regions: Iterable[RegionCaption],
    *,
    min_confidence: float = MIN_CONFIDENCE,
    neutral: bool = False,
) -> list[RegionCaption]:
    """The regions with words, tidied, the most confident first.

    Without a second box on the same thing.
    """
    worded = [
        replace(region, text=tidy(region.text, neutral=neutral))
        for region in regions
        if region.confidence >= min_confidence
    ]
    return merged(
        sorted(
            (region for region in worded if region.text),
            key=lambda region: -region.confidence,
        )
    )


def tidy(text: str | None, *, neutral: bool = False) -> str:
    """A caption without a broken-off end or a doubled part, in neutral words if wished.

    "" for none.

    >>> tidy("a man in a white shirt and a white shirt is")
    'a man in a white shirt'
    >>> tidy("a girl in a pink"), tidy("a woman in white")
    ('a girl', 'a woman in white')
    """
    words = (
        re.sub(r"\b((?:\w+ ){2,}\w+) and \1\b", r"\1", " ".join((text or "").split()))
        .rstrip(" .")
        .split()
    )
    while words and _dangles(words):
        words.pop()
    return neutral_wording(" ".join(words)) if neutral else " ".join(words)


def neutral_wording(text: str) -> str:
    """A text with words that do not guess a sex.

    >>> neutral_wording("a man and a woman watch as he shows her a female athlete")
    'two people watch as they show them an athlete'
    >>> neutral_wording("a girl in her red dress")
    'a child in their red dress'
    """
    words: list[str] = []
    parts = text.split()
    for word, following in zip(parts, [*parts[1:], ""], strict=False):
        plain = word.lower()
        if plain in ("male", "female"):
            # an adjective: without it the article may change
            if following and following.lower() not in PHRASE_ENDS:
                if (
                    words
                    and words[-1].lower() == "a"
                    and following[0].lower() in "aeiou"
                ):
                    words[-1] += "n"
                continue
            plain = "man"
        new_word = _neutral_word(plain, following.lower())
        if words and words[-1].lower() == "they":
            new_word = _VERBS.get(plain) or _without_s(plain)
        words.append(
            word
            if new_word == plain
            else new_word.capitalize()
            if word[0].isupper()
            else new_word
        )
    return _two_of_a_kind(" ".join(words))


def speak(text: str) -> None:
    """Say a text aloud with espeak-ng, which runs as a program of its own.

    Raises:
        OSError: it is not installed, or the machine has no sound.
    """
    run = subprocess.run(
        [voice(), "-v", "en", "--stdin"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    if run.returncode:
        raise OSError(
            "espeak-ng could not speak "
            f"({' '.join(run.stderr.split()) or run.returncode}); is there sound?"
        )


def voice() -> str:
    """The path of the program that speaks.

    Raises:
        OSError: it is not installed.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise OSError(
            "espeak-ng is not installed; install it (Debian: apt install espeak-ng) or "
            "go without --speak"
        )
    return program


def _dangles(words: Sequence[str]) -> bool:
    """Whether a caption was broken off at its last word.

    "A man in a" and "a man in a red" are, "a man in red" is not.
    """
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    return last in PHRASE_ENDS - {"front", "top"} or (
        last in _COLOURS and before not in ("in", "is", "are")
    )


def _single_things(words: Sequence[str]) -> list[str]:
    """The kinds that a sentence names in the singular, once for each time."""
    things = [
        word
        for word in words
        if word not in PHRASE_ENDS and singular(word) == word and word not in _PLURALS
    ]
    return [kind(word) for word in things]


def _neutral_word(word: str, following: str) -> str:
    """One word made neutral; "her" asks what follows it, and 's stays."""
    if word == "her":
        return "them" if not following or following in PHRASE_ENDS else "their"
    if word == "cowboy" and following.rstrip(".,;") in _COWBOY_THINGS:
        return word
    stem, mark, ending = word.partition("'")
    core = stem.rstrip(".,;")
    return _NEUTRAL.get(core, core) + stem[len(core) :] + mark + ending


def _without_s(verb: str) -> str:
    """A verb as it follows "they": runs -> run, watches -> watch."""
    if verb.endswith(("ches", "shes", "sses", "xes")):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb


def _two_of_a_kind(text: str) -> str:
    """Two of a kind counted: "a person and a person" is what "a man and a woman" became."""
    for noun, many in (
        ("person", "people"),
        ("child", "children"),
        ("newlywed", "newlyweds"),
    ):
        text = re.sub(
            rf"\b(a) {noun} and (?:a )?{noun}\b",
            f"two {many}",
            text,
            flags=re.IGNORECASE,
        )
    return text


def _sentence(text: str) -> str:
    if not text:
        return ""
    return text[0].upper() + text[1:] + "."


def _joined(opening: str, regions: Sequence[RegionCaption], width: int) -> str:
    """The opening and the regions in one text.

    A sentence for the left, the middle and the right.
    """
    sentences = [opening] if opening else []
    for side, low, high in (
        ("On the left", 0.0, 0.4),
        ("In the middle", 0.4, 0.6),
        ("On the right", 0.6, 1.01),
    ):
        here = [
            region
            for region in regions
            if low <= (region.box[0] + region.box[2]) / 2 / width < high
        ]
        texts = [
            region.text or ""
            for region in sorted(
                here, key=lambda region: (region.box[0] + region.box[2], region.box[1])
            )
        ]
        if texts:
            sentences.append(_sentence(f"{side}, {_listed(texts)}"))
    return " ".join(sentences)


def _listed(texts: Sequence[str]) -> str:
    """Texts as a list to be read: "a, b and c"."""
    *first_texts, last_text = texts
    if not first_texts:
        return last_text
    return f"{', '.join(first_texts)} and {last_text}"
