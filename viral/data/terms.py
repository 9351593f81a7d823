"""What the words of a licence ask of whoever uses the rows under it. A first reading, no legal advice."""

import re
from collections.abc import Iterable

UNKNOWN = "terms are not known: not to be passed on before they are"
_CONSEQUENCES = (
    (r"\bNC\b|non-?commercial|\bresearch\b", "no commercial use, nor of what is trained on it"),
    (r"\bND\b|no ?deriv", "nothing derived from it may be passed on, so neither may these pairs"),
    (r"\bSA\b|share-?alike", "what is derived from it is passed on under the same terms"),
    (r"\bCC[ -]BY|attribution|\bcite\b", "its authors are to be named"),
    (r"\bunknown\b|as given|no (explicit )?licence|undeclared|see its page|own Flickr licence", UNKNOWN),
)
_FREE = r"CC0|public domain|apache|\bMIT\b|\bBSD-|no known copyright|unrestricted|government work|CC[ -]BY"
_CREATIVE = r"CC[ -]?(0|BY(?:-(?:NC|ND|SA))*)[ -]([1-4]\.0)"


def consequences(licence: str) -> list[str]:
    """What the words of a licence ask for; words that say nothing known count as unknown terms."""
    found = [means for pattern, means in _CONSEQUENCES if re.search(pattern, licence, re.IGNORECASE)]
    return found or ([] if re.search(_FREE, licence, re.IGNORECASE) else [UNKNOWN])


def all_consequences(licences: Iterable[str]) -> list[str]:
    """What using rows of all these licences together asks for."""
    asked = {means for licence in licences for means in consequences(licence)}
    return [means for _, means in _CONSEQUENCES if means in asked]


def hub_name(licences: Iterable[str]) -> str:
    """The one licence as Hugging Face names it; `other` where there are several, or it is none of Creative Commons."""
    names = set()
    for licence in licences:
        found = re.search(_CREATIVE, licence, re.IGNORECASE)
        names.add(f"cc{'' if found[1] == '0' else '-'}{found[1]}-{found[2]}".lower() if found else "other")
    return names.pop() if len(names) == 1 else "other"
