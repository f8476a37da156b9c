"""The tokeniser: treebank rules one by one.

As PTBTokenizer with coco-caption's list of marks answers them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regiontalk.metrics.tokenizer import PUNCTUATION, ptb_tokenize

CASES = [
    ("empty", "", ""),
    ("marks-only", "... !? -- ; ' \" `", "!?"),
    ("full-stop", "A dog runs.", "a dog runs"),
    ("clitics", "I'm sure they've said he'll go", "i 'm sure they 've said he 'll go"),
    ("possessive", "the man's dogs' toys", "the man 's dogs toys"),
    ("negation", "isn't can't won't don't", "is n't ca n't wo n't do n't"),
    ("curly-quotes", "the man\u2019s \u201cred\u201d hat", "the man 's red hat"),
    (
        "joined",
        "cannot gonna wanna gotta gimme lemme",
        "can not gon na wan na got ta gim me lem me",
    ),
    ("part-of-word", "cannots gonnas", "cannots gonnas"),
    ("aphetic", "'tis 'twas 'em y'all", "'t is 't was 'em y' all"),
    (
        "elided",
        "o'clock ma'am l'oreal d'oeuvres o'brien",
        "o'clock ma'am l'oreal d'oeuvres o'brien",
    ),
    ("and-between", "rock 'n' roll rock'n'roll", "rock 'n' roll rock 'n' roll"),
    (
        "brackets-stay",
        "(red) [blue] {green}",
        "-lrb- red -rrb- -lsb- blue -rsb- -lcb- green -rcb-",
    ),
    ("hyphens", "black-and-white T-shirt - x- -y", "black-and-white t-shirt x y"),
    ("dashes", "a--b a\u2014b a---b -----", "a b a b a b -----"),
    ("slashes", "and/or 1/2 a/b/c/d w/ 24/7", "and/or 1/2 a/b/c / d w / 24/7"),
    (
        "numbers",
        "1,000.50 10:30am 5pm 3.5m .5 1990s '50s",
        "1,000.50 10:30 am 5pm 3.5 m .5 1990s '50s",
    ),
    ("signed-numbers", "+5 -5 5-10", "+5 -5 5-10"),
    ("money", "$5.00 5% US$5 \u00a310 \u20ac20", "$ 5.00 5 % us$ 5 # 10 $ 20"),
    ("fractions", "\u00bd cup", "1/2 cup"),
    (
        "abbreviations",
        "Mr. Smith of St. Louis etc. Ave.",
        "mr. smith of st. louis etc. ave.",
    ),
    ("words-not-abbreviations", "in the sun. by the bart.", "in the sun by the bart"),
    ("capital-abbreviation", "Mass. but mass. too", "mass. but mass too"),
    ("acronyms", "U.S. flag in D.C. U.S.A.F", "u.s. flag in d.c. u.s.a.f"),
    ("initial-in-sentence", "J. K. Rowling", "j. k. rowling"),
    ("initial-before-new-sentence", "lying I. The step", "lying i the step"),
    ("initial-in-quotes", 'the letter "B."', "the letter b."),
    ("number-sign", "No. 5 and #1 #tag @home", "no. 5 and # 1 #tag @home"),
    ("no-at-the-end", "she says no.", "she says no"),
    ("companies", "AT&T M&Ms at&t", "at&t m&m s at & t"),
    ("inner-marks", "fork.a foo!bar foo,bar foo:bar", "fork.a foo!bar foo bar foo bar"),
    (
        "addresses",
        "see www.foo.com or http://a.b/c?d=e, bob@foo.com",
        "see www.foo.com or http://a.b/c?d=e bob@foo.com",
    ),
    ("tags", "<b>bold</b> <3", "<b> bold </b> < 3"),
    ("entities", "salt &amp; pepper &lt;", "salt & pepper <"),
    ("smiley", "nice :)", "nice :-rrb-"),
    (
        "letters-of-the-world",
        "Caf\u00e9 Z\u00fcrich \u65e5\u672c\u8a9e",
        "caf\u00e9 z\u00fcrich \u65e5\u672c\u8a9e",
    ),
    ("emoji-dropped", "a \U0001f600 b", "a b"),
    ("blanks", "a\tb\nc  d\u00a0e", "a b c d e"),
]


@pytest.mark.parametrize(
    ("sentence", "wanted"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_rules(sentence: str, wanted: str) -> None:
    assert ptb_tokenize(sentence) == wanted.split()


def test_marks_leave_but_bracket_names_stay() -> None:
    # coco-caption lower-cases first and then looks for "-LRB-", so "-lrb-" stays: its figures have
    # it.
    assert "-LRB-" in PUNCTUATION and ptb_tokenize("(") == ["-lrb-"]


def test_fixture_has_the_known_number_of_words(shared: Path) -> None:
    rows = json.loads(
        (
            shared / "data/eval_fixtures/magic_karpathy_test/mscoco_magic_result.json"
        ).read_text()
    )
    assert sum(len(ptb_tokenize(row["prediction"])) for row in rows) == 47153


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("मेज़ पर कॉफ़ी है।", ["मेज़", "पर", "कॉफ़ी", "है", "।"]),
        ("a cup in a cafe\u0301", ["a", "cup", "in", "a", "cafe\u0301"]),
        ("مُدَرِّسَة في", ["مُدَرِّسَة", "في"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("ผู้หญิงยิ้ม", ["ผู้หญิงยิ้ม"]),
        ("ಕನ್ನಡ", ["ಕನ", "ನಡ"]),  # the original knows no mark of this script
        ("x² and ½", ["x", "²", "and", "1/2"]),
    ],
    ids=["Hindi", "decomposed", "Arabic", "Hebrew", "Thai", "Kannada", "superscript"],
)
def test_combining_marks_as_the_original(sentence: str, expected: list[str]) -> None:
    """What Stanford's tokenizer 3.4.1 says of these texts."""
    assert ptb_tokenize(sentence) == expected
