"""`samovar models`, as a user types it, against the live stack and against a fake gateway."""

from pathlib import Path

import httpx
import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.deploy.command_line import samovar
from tests.deploy.fake_gateway import FakeGateway
from tests.live import stack

__all__ = ["stack"]


@pytest.mark.slow
def test_a_model_is_created_described_and_deleted(stack: Stack, tmp_path: Path) -> None:
    created = samovar(stack, "models", "create", "shelf/thing", "--description", "Sorts zebras", "--json")
    assert created.returncode == 0, created.stderr
    assert json.decode(created.stdout)["visibility"] == "private"
    (tmp_path / "README.md").write_text("# Zebras\n")
    arguments = ("--visibility", "public", "--readme", f"@{tmp_path}/README.md", "--paper-url", "https://example.com/p")
    assert samovar(stack, "models", "update", "shelf/thing", *arguments).stdout == "changed shelf/thing\n"
    model = json.decode(samovar(stack, "models", "update", "shelf/thing", "--paper-url", "", "--json").stdout)
    assert (model["visibility"], model["paper_url"], model["description"]) == ("public", None, "Sorts zebras")
    assert samovar(stack, "models", "search", "zebr").stdout == "shelf/thing\t0\tSorts zebras\n"
    assert samovar(stack, "search", "sort", "zebras").stdout == "model\tshelf/thing\tSorts zebras\n"
    assert samovar(stack, "models", "delete", "shelf/thing", "--yes").returncode == 0


@pytest.mark.slow
def test_a_list_has_the_items_of_all_pages(stack: Stack) -> None:
    names = [f"shelf/zebra-{n}" for n in range(26)]  # one more than a page has
    with httpx.Client(base_url=stack.url, headers=stack.headers) as client:
        for name in names:
            body = {"owner": "shelf", "name": name.split("/")[1], "visibility": "private", "hardware": "cpu"}
            assert client.post("/v1/models", json=body).status_code == 201
        lines = samovar(stack, "models", "search", "zebra", "--limit", "100").stdout.splitlines()
        assert sorted(line.split("\t")[0] for line in lines) == sorted(names)
        for name in names:
            assert client.delete(f"/v1/models/{name}").status_code == 204


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("models", "update", "samovar/count"), "there is nothing to change", id="no change"),
        pytest.param(("models", "update", "samovar/count", "--readme", "@/none"), "/none: No such file", id="no file"),
        pytest.param(("models", "create", "samovar/count"), "There is a model samovar/count already", id="a name"),
        pytest.param(("models", "examples", "add", "samovar/count", "none"), "no such prediction", id="no prediction"),
        pytest.param(("collections", "show", "a b/c"), "/v1/collections/a b/c: ", id="no collection"),
        pytest.param(("search",), 'Query parameter "query" is required', id="no words"),
    ],
)
def test_an_error_names_what_is_wrong(stack: Stack, arguments: tuple[str, ...], expected: str) -> None:
    result = samovar(stack, *arguments)
    assert result.returncode == 1
    assert expected in result.stderr


def test_versions_are_listed_newest_first_and_the_latest_is_marked(gateway: FakeGateway) -> None:
    gateway.versions = ["ab" * 32, "cd" * 32]
    lines = [line.split("\t") for line in samovar(gateway, "models", "versions", "me/mine").stdout.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("ab" * 32, "latest"), ("cd" * 32, "")]


def test_the_log_of_a_version_is_printed_as_it_is(gateway: FakeGateway) -> None:
    gateway.versions = ["ab" * 32, "cd" * 32]
    assert samovar(gateway, "models", "logs", "me/mine").stdout == gateway.log
    assert f"GET /v1/models/me/mine/versions/{'ab' * 32}/logs" in gateway.request_lines
    samovar(gateway, "models", "logs", "me/mine:cdcd")
    assert f"GET /v1/models/me/mine/versions/{'cd' * 32}/logs" in gateway.request_lines


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        pytest.param("me/mine", "DELETE /v1/models/me/mine", id="a model"),
        pytest.param("me/mine:abab", f"DELETE /v1/models/me/mine/versions/{'ab' * 32}", id="a version"),
    ],
)
def test_a_deletion_names_the_model_or_the_version(gateway: FakeGateway, ref: str, path: str) -> None:
    gateway.versions = ["ab" * 32]
    result = samovar(gateway, "models", "delete", ref, "--yes")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("deleted me/mine")
    assert path in gateway.request_lines
