import pytest

from runners.errors import UnusableModel
from runners.versions.labels import parse_labels


def test_labels_are_read_from_the_environment() -> None:
    assert parse_labels({}) == parse_labels({"SAMOVAR_LABELS": ""}) == {}
    environment = {"SAMOVAR_LABELS": "openai=chat,completions  team/of=a=b empty="}
    assert parse_labels(environment) == {"openai": "chat,completions", "team/of": "a=b", "empty": ""}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("openai", "'openai' is not a label"),
        ("Openai=chat", "'Openai=chat' is not a label"),
        ("a=ü", "'a=ü' is not a label"),
        (" ".join(f"l{n}=x" for n in range(33)), "there are 33 labels"),
    ],
)
def test_an_invalid_label_is_named(text: str, reason: str) -> None:
    with pytest.raises(UnusableModel, match=f"cog.yaml: environment: SAMOVAR_LABELS: {reason}"):
        parse_labels({"SAMOVAR_LABELS": text})
