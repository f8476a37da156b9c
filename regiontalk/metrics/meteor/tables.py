"""What METEOR 1.5 reads besides the sentences.

Function words, WordNet synonyms, paraphrases, stems. The tables belong to METEOR and
are not copied here; they are read out of the jar and the ``data`` folder of an
installed pycocoevalcap, no Java needed. Without them METEOR runs with its first two
stages only: another figure.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LONGEST = 7  # words of the longest phrase that is looked up
_JAR = "meteor-1.5.jar"
_PARAPHRASES = Path("data") / "paraphrase-en.gz"
_BLOCK = 1 << 24  # bytes of the paraphrase table read at a time


@dataclass(frozen=True)
class MeteorTables:
    """The tables of METEOR's English task; empty ones stand for stages that do not run.

    Attributes:
        function_words: words that weigh less (delta).
        synsets: word -> numbers of its WordNet synonym sets.
        bases: irregular form -> its base forms ("abaci" -> "abacus").
        paraphrases: file of phrase pairs, read when captions are scored; None: the stage does not
            run.
    """

    function_words: frozenset[str] = frozenset()
    synsets: Mapping[str, frozenset[int]] = field(default_factory=dict)
    bases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paraphrases: Path | None = None

    def phrase_pairs(self, wanted: Collection[str]) -> dict[str, frozenset[str]]:
        """Phrase -> its paraphrases in either direction.

        For phrases of which both stand among the wanted ones.

        Args:
            wanted: phrases (words joined by blanks) of the sentences that will be aligned.
        """
        paraphrases_of: defaultdict[str, set[str]] = defaultdict(set)
        if self.paraphrases is None:
            return {}
        keys = {phrase.encode() for phrase in wanted}
        for first, second in _read_pairs(self.paraphrases):
            if first in keys and second in keys:
                paraphrases_of[first.decode()].add(second.decode())
                paraphrases_of[second.decode()].add(first.decode())
        return {phrase: frozenset(others) for phrase, others in paraphrases_of.items()}


def installed_folder() -> Path | None:
    """The ``meteor`` folder of an installed pycocoevalcap, or None."""
    package_spec = importlib.util.find_spec("pycocoevalcap")
    if package_spec is None or not package_spec.submodule_search_locations:
        return None
    package_folder = package_spec.submodule_search_locations[0]
    folder = Path(package_folder) / "meteor"
    if not (folder / _JAR).is_file():
        return None
    return folder


def read_tables(folder: Path) -> MeteorTables:
    """Read the tables from the ``meteor`` folder of pycocoevalcap.

    Raises:
        ValueError: the jar or the paraphrases are not there.
    """
    missing = [
        name for name in (_JAR, str(_PARAPHRASES)) if not (folder / name).is_file()
    ]
    if missing:
        raise ValueError(
            f"{folder}: expected METEOR's tables, {missing[0]} is not there; pip "
            "install pycocoevalcap"
        )
    with zipfile.ZipFile(folder / _JAR) as jar:
        words = _jar_lines(jar, "function/english.words")
        synsets = _jar_lines(jar, "synonym/english.synsets")
        exceptions = _jar_lines(jar, "synonym/english.exceptions")
    bases: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for base, forms in zip(exceptions[0::2], exceptions[1::2], strict=False):
        for form in forms.split():
            bases[form] += (base,)
    return MeteorTables(
        function_words=frozenset(word.strip() for word in words if word.strip()),
        synsets={
            word: frozenset(map(int, numbers.split()))
            for word, numbers in zip(synsets[0::2], synsets[1::2], strict=False)
        },
        bases=dict(bases),
        paraphrases=folder / _PARAPHRASES,
    )


def _jar_lines(jar: zipfile.ZipFile, name: str) -> list[str]:
    """The lines of a text file in the jar."""
    return jar.read(name).decode("utf-8").split("\n")


def english_stemmer() -> Callable[[str], str]:
    """The Snowball stemmer of English (Porter 2), METEOR's second stage.

    Raises:
        ImportError: snowballstemmer is not installed; the message says how to get it.
    """
    try:
        library = importlib.import_module("snowballstemmer")
    except ImportError as error:
        raise ImportError(
            "METEOR stems with snowballstemmer: pip install 'regiontalk[eval]'"
        ) from error
    stem: Callable[[str], str] = library.stemmer("english").stemWord
    return stem


def _read_pairs(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of the table: three lines each, probability, phrase, phrase."""
    with gzip.open(path) as file:
        lines: list[bytes] = []
        last_line = b""
        while block := file.read(_BLOCK):
            *whole_lines, last_line = (last_line + block).split(b"\n")
            lines += whole_lines
            complete = len(lines) - len(lines) % 3
            yield from zip(lines[1:complete:3], lines[2:complete:3], strict=True)
            lines = lines[complete:]
        lines += [last_line] if last_line else []
        yield from zip(lines[1::3], lines[2::3], strict=False)
