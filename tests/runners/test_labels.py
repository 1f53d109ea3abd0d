import pytest

from runners.errors import NotOffered
from runners.versions.labels import read


def test_labels_are_read_from_the_environment() -> None:
    assert read({}) == read({"SAMOVAR_LABELS": ""}) == {}
    said = {"SAMOVAR_LABELS": "openai=chat,completions  team/of=a=b empty="}
    assert read(said) == {"openai": "chat,completions", "team/of": "a=b", "empty": ""}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("openai", "'openai' is no label"),
        ("Openai=chat", "'Openai=chat' is no label"),
        ("a=ü", "'a=ü' is no label"),
        (" ".join(f"l{n}=x" for n in range(33)), "there are 33 labels"),
    ],
)
def test_a_label_that_makes_no_sense_is_named(text: str, reason: str) -> None:
    with pytest.raises(NotOffered, match=f"cog.yaml: environment: SAMOVAR_LABELS: {reason}"):
        read({"SAMOVAR_LABELS": text})
