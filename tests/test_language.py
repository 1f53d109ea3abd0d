"""Names and docstrings follow the rules of CONTRIBUTING.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("schemas", "bus", "gateway", "runners", "deploy", "benchmarks")
FRAGMENT: Final = re.compile(
    r"(Of|As|That|Whose|Whom|Who|Which|By|With|Without|From|For|To|In|On|At|And|Or|But|None|Not|Than|The same|Same|"
    r"Like|Whether|Where|What|When|Why|How|Until|Before|After|Once|If|Because|Since|Again|Also|Its|Their|It|They|"
    r"These|Those)\b"
)
"""How a sentence begins that needs the name beside it to be understood. Properties may begin with `Whether`."""
OLD_WORDS: Final = frozenset(
    {
        *("ear", "ears", "hearer", "herald", "ushers", "usher", "humble", "perish", "told", "said", "heard", "lives"),
        *("seat", "seats", "seated", "seating", "sitting", "shelf", "desk", "census", "upkeep", "ticking", "speech"),
        *("audience", "ledger"),
    }
)
MESSAGES: Final = frozenset(
    {
        "You did not pass an authentication token",
        "You did not pass a valid authentication token",
        "The specified version does not exist (or perhaps you don't have permission to use it?)",
    }
)
"""Docstrings that are error messages at the same time, in words that Replicate's clients expect."""
Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def each(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Every public class, function and method, with its qualified name.

    Methods of protocols and overrides are left out: the implementation, or the base, says what they do.
    """
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_") and not overrides(node):
            yield node.name, node
            if isinstance(node, ast.ClassDef) and not any("Protocol" in ast.unparse(base) for base in node.bases):
                yield from (
                    (f"{node.name}.{method.name}", method)
                    for method in node.body
                    if isinstance(method, Documented) and not method.name.startswith("_") and not overrides(method)
                )


def decorators(node: Documented) -> list[str]:
    return [ast.unparse(decorator) for decorator in node.decorator_list]


def overrides(node: Documented) -> bool:
    return any(name.split(".")[-1] in {"override", "overload", "setter"} for name in decorators(node))


def first_sentence(docstring: str) -> str:
    return re.split(r"(?<=[.!?])\s", docstring.replace("\n", " "), maxsplit=1)[0]


def is_fragment(node: Documented | ast.Module, sentence: str) -> bool:
    if "property" in (decorators(node) if isinstance(node, Documented) else ()) and sentence.startswith("Whether "):
        return False
    return FRAGMENT.match(sentence) is not None or not sentence.endswith((".", "!", "?"))


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Whatever this module gives a name to."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case _:
                pass


def tokens(name: str) -> set[str]:
    return set(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_"))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring_whose_first_sentence_stands_alone(package: str):
    problems: list[str] = []
    for path in sorted((ROOT / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for name, node in [("", tree), *each(tree)]:
            docstring = ast.get_docstring(node)
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {name}"
            if docstring is None:
                problems.append(f"{place} has no docstring")
            elif docstring not in MESSAGES and is_fragment(node, sentence := first_sentence(docstring)):
                problems.append(f"{place} begins with a fragment: {sentence}")
    assert problems == []


def test_no_name_uses_a_word_of_the_old_language():
    problems = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in modules()
        for line, name in names(ast.parse(path.read_text()))
        if tokens(name) & OLD_WORDS or path.stem in OLD_WORDS
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        pytest.param("Return the job's sequence.", False, id="a verb"),
        pytest.param("A worker process and its socket.", False, id="a noun phrase"),
        pytest.param("Of a prediction that was accepted here.", True, id="a genitive"),
        pytest.param("Return the job's sequence", True, id="no full stop"),
    ],
)
def test_a_fragment_is_recognized(sentence: str, expected: bool):
    assert is_fragment(ast.parse(""), sentence) is expected
