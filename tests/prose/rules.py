"""The rules; each yields what it refuses of a text, as pairs of an offset and a reason."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.prose.texts import ROOT, Text, texts, without_code

Found = Iterator[tuple[int, str]]


class Violation(NamedTuple):
    """A place in a file, the rule that it breaks, and how."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


PERSONS = re.compile(
    r"\b(who(m|so)?ever|nobody|somebody|anybody|everybody|no\s+one|someone|anyone|everyone)\b", re.I
)
VERBS = re.compile(
    r"\b((fore)?tell(s|ing)?|(un)?told|(over)?hear(s|d|ing)?|say(s|ing)?|(un)?said"
    r"|blam(e|es|ed|ing)|(die[sd]?|dying)\s+of)\b",
    re.I,
)
CONDITIONS = re.compile(
    r"\bwhere\s+(there|none|nothing|no|not|possible|necessary|needed|something|anything"
    r"|(it|they|this|that|these|those|one|we|you)\s+(is|are|was|were|has|have|had|can|cannot|may|must|do|does|did|could))\b",
    re.I,
)
INVERSIONS = re.compile(
    r"(?:^|(?<=[.;:]\s))(?:Is|Are|Was|Were|Has|Had|Should|Does|Did)\s(?!not\b)[^.?,]+,[^.?]+\.", re.M
)
SUBJECTLESS = frozenset(
    re.findall(r"\w+", "of what it its those they their these whoever who whom whose so by none")
)
NOUNS = SUBJECTLESS | set(
    re.findall(
        r"\w+",
        """the a an whether how where when why which this that each every all both any some one two no not
        nothing there if in on at for from with without to as until true false number names lines files
        seconds folder everything another most several such once only also never itself""",
    )
)
"""First words of docstrings that are no imperatives, beside those that ruff's D401 knows."""
FILLERS = set(
    re.findall(r"\w+", "a an the of this that is are was to in for its it be return get whether if from")
)
RAISES = re.compile(r"\bRaises\b(?!:\n)|\braises\s+[A-Z]\w*(Error|Exception)")


FROZEN = {
    "its worker was not heard of any more",
    "its builder was not heard of any more",
    "its answer was not told: ",
}
"""Messages that folds and stores write: other words would turn an old log into other bytes (rule 1)."""


def persons(text: Text) -> Found:
    """A text names components, not persons: "the store processor", not "whoever"."""
    return _each(PERSONS, text)


def verbs(text: Text) -> Found:
    """Components publish, return, log, notify; they do not say, tell, hear, blame, or die of something."""
    return _each(VERBS, text)


def conditions(text: Text) -> Found:
    """Conditions begin with "if" or "when"; "where" is for places."""
    return _each(CONDITIONS, text)


def inversions(text: Text) -> Found:
    """Conditions are not inverted: "If it is there, …", not "Is it there, …"."""
    return _each(INVERSIONS, text)


def subjects(text: Text) -> Found:
    """A docstring does not open with a pronoun or a preposition: the subject would be missing."""
    if text.kind == "docstring" and _first_word(text) in SUBJECTLESS:
        yield 0, _summary(text)


def moods(text: Text) -> Found:
    """A function's docstring opens with an imperative (PEP 257); a property's may be a noun phrase."""
    noun_of = re.match(r"\W*(?!dispose)\w+\s+of\b", text.text, re.I)
    if text.function and (noun_of or _first_word(text) in NOUNS):
        yield 0, _summary(text)


def raises(text: Text) -> Found:
    """Errors stand in a block, after a line `Raises:`."""
    return _each(RAISES, text) if text.kind == "docstring" else iter(())


def lengths(text: Text) -> Found:
    """A docstring has more than three words."""
    if text.kind == "docstring" and len(text.text.split()) <= 3:
        yield 0, _summary(text)


def repetitions(text: Text) -> Found:
    """A docstring adds something to the name."""
    words = _stems(text.text) - FILLERS
    if text.kind == "docstring" and text.name and words and words <= _stems(text.name):
        yield 0, _summary(text)


RULES: dict[str, Callable[[Text], Found]] = {
    "person": persons,
    "verb": verbs,
    "where": conditions,
    "inversion": inversions,
    "subject": subjects,
    "mood": moods,
    "raises": raises,
    "short": lengths,
    "repeats": repetitions,
}


def violations(file: str, source: str) -> Iterator[Violation]:
    """Yield what `RULES` refuse in the source of a file."""
    for text in texts(file, source):
        if text.text in FROZEN:
            continue
        for rule, refuse in RULES.items():
            for offset, reason in refuse(text):
                line = text.line + text.text.count("\n", 0, offset)
                yield Violation(file, line, rule, reason)


def check(files: list[Path]) -> list[Violation]:
    """Return all violations of files, in their order, one per line and rule."""
    found: set[Violation] = set()
    for file in files:
        found.update(violations(str(file.relative_to(ROOT)), file.read_text()))
    return sorted({violation[:3]: violation for violation in found}.values())


def _each(pattern: re.Pattern[str], text: Text) -> Found:
    prose = without_code(text.text)
    for match in pattern.finditer(prose):
        around = prose[max(0, match.start() - 40) : match.end() + 40]
        yield match.start(), " ".join(around.split())


def _first_word(text: Text) -> str:
    match = re.match(r"\W*(\w+)", text.text)
    return match[1].lower() if match else ""


def _summary(text: Text) -> str:
    return " ".join(text.text.split())[:90]


def _stems(text: str) -> set[str]:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", text)
    return {re.sub(r"(?<=\w{3})(s|es|ed|ing)$", "", word.lower()) for word in words}
