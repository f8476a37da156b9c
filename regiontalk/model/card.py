"""What a model card says that a program reads."""

from __future__ import annotations


def licence(card: str) -> str:
    """The section of a model card whose heading speaks of the licence; empty where there is none.

    >>> lines = ["# mini", "## Licence", "Research only.", "## Data"]
    >>> licence(chr(10).join(lines))
    'Research only.'
    """
    section: list[str] = []
    inside = False
    for line in card.splitlines():
        if line.startswith("#"):
            inside = "licen" in line.lower()
        elif inside:
            section.append(line.strip())
    return " ".join(" ".join(section).split())
