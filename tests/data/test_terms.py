"""Words of licences, and what they ask for."""

import pytest

from viral.data.terms import UNKNOWN, all_consequences, consequences, hub_name


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        ("CC0-1.0 (made by this program)", []),
        ("public domain (NASA)", []),
        ("no known copyright restrictions", []),
        ("CC BY 2.0", ["named"]),
        ("CC BY-NC-SA 2.0", ["no commercial", "same terms", "named"]),
        ("CC BY-NC-ND 4.0 (no commercial use, no passing on)", ["no commercial", "passed on", "named"]),
        ("Rain200L (research; see its page)", ["no commercial", "not known"]),
        ("as given", ["not known"]),
        ("whatever else", ["not known"]),
    ],
)
def test_words_of_a_licence_say_what_follows(licence: str, words: list[str]) -> None:
    found = consequences(licence)
    assert len(found) == len(words) and all(word in means for word, means in zip(words, found, strict=True))


def test_all_rows_together_ask_for_all_that_any_asks() -> None:
    assert all_consequences(["CC0-1.0", "as given", "CC BY 4.0"]) == ["its authors are to be named", UNKNOWN]


def test_hugging_face_hears_one_name_or_other() -> None:
    assert hub_name(["CC0-1.0 (made by this program)"]) == "cc0-1.0"
    assert hub_name(["CC BY-NC-SA 2.0"]) == "cc-by-nc-sa-2.0"
    assert hub_name(["CC BY 2.0", "CC0-1.0"]) == hub_name(["as given"]) == hub_name([]) == "other"
