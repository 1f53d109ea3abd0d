"""Models that are made, described, shown and found from the command line, against the live stack."""

from pathlib import Path

import httpx
import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.deploy.test_cli import samovar
from tests.live import stack

pytestmark = pytest.mark.slow


__all__ = ["stack"]


def test_a_model_is_made_described_and_deleted(stack: Stack, tmp_path: Path) -> None:
    made = samovar(stack, "models", "create", "shelf/thing", "--description", "Sorts zebras", "--json")
    assert made.returncode == 0, made.stderr
    assert json.decode(made.stdout)["visibility"] == "private"
    (tmp_path / "README.md").write_text("# Zebras\n")
    words = ("--visibility", "public", "--readme", f"@{tmp_path}/README.md", "--paper-url", "https://example.com/p")
    assert samovar(stack, "models", "update", "shelf/thing", *words).stdout == "changed shelf/thing\n"
    shown = json.decode(samovar(stack, "models", "update", "shelf/thing", "--paper-url", "", "--json").stdout)
    assert (shown["visibility"], shown["paper_url"], shown["description"]) == ("public", None, "Sorts zebras")
    assert samovar(stack, "models", "search", "zebr").stdout == "shelf/thing\t0\tSorts zebras\n"
    assert samovar(stack, "search", "sort", "zebras").stdout == "model\tshelf/thing\tSorts zebras\n"
    assert samovar(stack, "models", "delete", "shelf/thing", "--yes").returncode == 0


def test_pages_are_followed_to_the_last(stack: Stack) -> None:
    names = [f"shelf/zebra-{n}" for n in range(26)]  # one more than a page has
    with httpx.Client(base_url=stack.url, headers=stack.headers) as client:
        for name in names:
            about = {"owner": "shelf", "name": name.split("/")[1], "visibility": "private", "hardware": "cpu"}
            assert client.post("/v1/models", json=about).status_code == 201
        lines = samovar(stack, "models", "search", "zebra", "--limit", "100").stdout.splitlines()
        assert sorted(line.split("\t")[0] for line in lines) == sorted(names)
        for name in names:
            assert client.delete(f"/v1/models/{name}").status_code == 204


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("models", "update", "samovar/count"), "there is nothing to change", id="no change"),
        pytest.param(("models", "update", "samovar/count", "--readme", "@/none"), "/none: No such file", id="no file"),
        pytest.param(("models", "create", "samovar/count"), "There is a model samovar/count already", id="a name"),
        pytest.param(("models", "examples", "add", "samovar/count", "none"), "no such prediction", id="no prediction"),
        pytest.param(("collections", "show", "a b/c"), "/v1/collections/a b/c: ", id="no collection"),
        pytest.param(("search",), 'Query parameter "query" is required', id="no words"),
    ],
)
def test_what_is_wrong_is_told(stack: Stack, words: tuple[str, ...], told: str) -> None:
    done = samovar(stack, *words)
    assert done.returncode == 1
    assert told in done.stderr


def test_examples_are_added_listed_and_removed(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/hello-world", "-i", "text=zebra", "--json").stdout)["id"]
    examples = ("models", "examples")
    assert samovar(stack, *examples, "add", "samovar/hello-world", id).returncode == 0
    samovar(stack, "models", "update", "samovar/hello-world", "--default-example", id)
    [line] = samovar(stack, *examples, "list", "samovar/hello-world").stdout.splitlines()
    assert line.split("\t")[::2] == [id, '{"text":"zebra"}']
    assert line.split("\t")[3] == "default"
    assert samovar(stack, *examples, "remove", "samovar/hello-world", id).returncode == 0
    assert samovar(stack, *examples, "list", "samovar/hello-world").stdout == ""


def test_a_collection_is_made_changed_and_deleted(stack: Stack) -> None:
    made = samovar(stack, "collections", "create", "Zoo Keepers", "--description", "x", "-m", "samovar/count")
    assert made.stdout == "made zoo-keepers\n", made.stderr
    assert samovar(stack, "collections", "list").stdout == "zoo-keepers\tZoo Keepers\tx\n"
    words = ("--new-slug", "zoo", "-m", "samovar/hello-world", "-m", "samovar/count")
    assert samovar(stack, "collections", "update", "zoo-keepers", *words).stdout == "changed zoo\n"
    lines = samovar(stack, "collections", "show", "zoo").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["samovar/hello-world", "samovar/count"]
    assert "collection\tzoo\tx" in samovar(stack, "search", "zoo").stdout.splitlines()
    assert samovar(stack, "collections", "delete", "zoo").stdout == "deleted zoo\n"
    assert samovar(stack, "collections", "list").stdout == ""
