"""Tables, plots, the page and RESULTS.md: all that was measured is in them, and nothing that was not."""

import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from rich.console import Console

from benchmarks.aims import AIMS, Aim, outcomes
from benchmarks.aims import met as all_met
from benchmarks.figures import measurements
from benchmarks.report.html import page, write_html
from benchmarks.report.plots import drawings, svg, write_plots
from benchmarks.report.results import notes_by_row, write_results
from benchmarks.samples import Figure, Repeat, write
from benchmarks.tables import answers, costs, events, how, number, show, stages
from tests.bench.made import figure, repeats

HOSTILE = '<script>alert("x")</script> $\\frac{ [red] | `a` \x1b[31m ]]> -->'
Measured = Sequence[Repeat | Figure]


def printed(measured: Measured, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    show(measured, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_has_a_row_for_each_measurement_of_each_target() -> None:
    found = measurements([*repeats(), *repeats(target="litserve", ms=4.0), *repeats("tokens", events=4)])
    assert [row[:2] for row in answers(found).rows] == [
        ["no-op, 32 clients", "samovar"],
        ["no-op, 32 clients", "litserve"],
        ["tokens", "samovar"],
    ]
    assert [row[0] for row in events(found).rows] == ["tokens"]


def test_a_table_in_a_pipe_is_no_wider_than_it_may_be() -> None:
    text = printed([*repeats(), *repeats(target="litserve"), figure("gateway idle", "MB", [91.0, 92.0, 93.0])])
    assert max(len(line) for line in text.splitlines()) <= 140
    assert "91.0" in text
    assert "92.0 (91.0–93.0)" in text
    assert "\x1b" not in text


def test_wrong_answers_come_first_and_by_reason() -> None:
    text = printed([*repeats(wrong=3, count=2), *repeats("fine")])
    assert text.startswith("WRONG ANSWERS")
    assert re.search(r"503 Service Unavailable +│ +6 of \d+", text)
    assert "WRONG" not in printed([*repeats("fine")])


def test_costs_are_by_kind_of_process_with_the_load_generator_last() -> None:
    (one,) = repeats(count=1)
    sheet = costs(measurements([one, *repeats(target="mosec", count=1)]))
    assert sheet.columns[2:] == ["gateway", "worker", "server", "load generator", "all but the load generator"]
    assert sheet.rows[0][2] == number(0.2e6 / len(one.samples))


def test_stages_are_shown_of_those_that_tell_them() -> None:
    sheet = stages(measurements([*repeats(), *repeats(target="mosec")]))
    assert (sheet.columns[2:], sheet.rows) == (
        ["accepted", "committed"],
        [["no-op, 32 clients", "samovar", "0.20", "0.70"]],
    )


def test_a_machine_that_was_not_quiet_is_warned_of() -> None:
    assert "NOT QUIET" in printed([*repeats(busy=3.0)])
    assert "NOT QUIET" not in printed([*repeats(busy=0.2), *repeats("later", busy=0.2)])


def test_a_plan_is_told_without_its_password() -> None:
    (one,) = repeats(count=1, arrivals="poisson", rate=70)
    said = how(one.plan, 5)
    assert said.startswith("open loop, 70/s poisson, 32 connections at most, sync, 5 × 1 s after 1 s of warm-up: ")
    assert said.endswith("http://127.0.0.1:8080/v1/models/samovar/noop/predictions")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (20547.9, "20,548")],
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def plotted() -> Measured:
    return [
        *repeats(),
        *repeats(target="litserve", ms=4.0),
        *repeats("no-op, 1 client", clients=1, rate=90),
        *repeats("failing", wrong=1000, rate=20),
        figure("gateway idle", "MB", [91.0]),
    ]


def test_plots_are_png_files_of_every_kind(tmp_path: Path) -> None:
    written = write_plots(plotted(), tmp_path / "plots")
    assert sorted(path.name for path in written) == [
        "percentiles-no-op-1-client-samovar.png",
        "percentiles-no-op-32-clients.png",
        "throughput-no-op.png",
        "timeline-failing-samovar.png",
        "timeline-no-op-1-client-samovar.png",
        "timeline-no-op-32-clients-litserve.png",
        "timeline-no-op-32-clients-samovar.png",
    ]
    for path in written:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width > 900


def test_names_that_differ_by_signs_only_have_a_file_each(tmp_path: Path) -> None:
    measured = [one for name in ("a b", "../a/b", "a+b") for one in repeats(name, rate=9)]
    written = write_plots(measured, tmp_path)
    assert len(set(written)) == len(written) == len(list(tmp_path.iterdir()))
    assert all(path.parent == tmp_path for path in written)


def test_a_drawing_is_the_same_twice() -> None:
    found = measurements(repeats(count=2, rate=50))
    assert [svg(one) for one in drawings(found)] == [svg(one) for one in drawings(found)]


class Seen(HTMLParser):
    """The tags of a page, its text, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(measured: Measured) -> Seen:
    parser = Seen()
    parser.feed(page(measurements(measured)))
    return parser


def test_a_page_escapes_what_it_is_given() -> None:
    hostile = repeats(HOSTILE, HOSTILE, wrong=1, error=HOSTILE, rate=30)
    there = seen([*hostile, figure(HOSTILE, HOSTILE, [1.0], HOSTILE)])
    assert "script" not in there.tags
    assert there.text.count('<script>alert("x")</script>') >= 5
    assert "\x1b" not in there.text


def test_a_page_is_whole_by_itself(tmp_path: Path) -> None:
    write_html(plotted(), tmp_path / "report.html")
    there = seen(plotted())
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {link[:5] for link in there.links if not link.startswith("#")} <= {"data:"}
    assert there.tags.count("svg") == 7
    assert len(there.ids) == len(set(there.ids))
    assert {link[1:] for link in there.links if link.startswith("#")} <= set(there.ids)
    for words in ("WRONG ANSWERS", "Latency by percentile", "A Processor, 2 cores", "closed loop, 32 clients"):
        assert words in there.text


def test_a_page_of_figures_only_has_no_plots() -> None:
    there = seen([figure("gateway idle", "MB", [91.0])])
    assert "svg" not in there.tags
    assert "91.0" in there.text


def test_a_drawing_is_well_formed_whatever_it_is_of() -> None:
    for one in drawings(measurements([*repeats(HOSTILE, HOSTILE, rate=30), *repeats("x" * 300, "y" * 300, rate=30)])):
        ElementTree.fromstring(svg(one))


def suite(p50: float = 2.0, litserve: float = 4.0) -> Measured:
    return [
        *repeats("no-op, 1 client", clients=1, ms=p50),
        *repeats("no-op, 1 client", "litserve", clients=1, ms=litserve),
        *repeats("minilm, 64 clients", rate=260),
        *repeats("minilm, 64 clients", "mosec", rate=240),
        figure("bare loop, minilm", "texts/s, batches of 32", [265, 266, 264], "bare loop"),
        figure("gateway idle", "MB", [90, 91, 92]),
        figure("gateway idle", "% of a core", [0.3, 0.7, 0.6]),
    ]


def aim(what: str) -> Aim:
    return next(one for one in AIMS if one.what == what)


def met(what: str, measured: Measured) -> bool | None:
    return all_met(outcomes(aim(what), measurements(measured)))


def test_there_are_twelve_rows() -> None:
    assert len({one.what for one in AIMS}) == len(AIMS) == 12


def test_a_row_is_met_when_all_of_its_bounds_are() -> None:
    assert met("no-op, 1 client", suite(p50=1.2)) is True
    assert met("no-op, 1 client", suite(p50=1.2, litserve=0.9)) is False
    assert met("no-op, 1 client", suite(p50=2.0)) is False
    assert met("minilm, 64 clients", suite()) is True
    assert met("gateway idle", suite()) is False


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    alone = [one for one in suite(p50=1.2) if not (isinstance(one, Repeat) and one.plan.target == "litserve")]
    assert met("no-op, 1 client", alone) is None
    assert met("async create", suite()) is None


def test_a_row_with_wrong_answers_is_not_met() -> None:
    fast = [*repeats("no-op, 1 client", ms=1.0, wrong=1), *repeats("no-op, 1 client", "litserve")]
    assert met("no-op, 1 client", fast) is False


def test_the_best_rival_that_was_measured_is_the_one_to_beat() -> None:
    slower = [*repeats("minilm, 64 clients", "ray", rate=100), *repeats("minilm, 64 clients", "bentoml", rate=300)]
    (_, ahead) = outcomes(aim("minilm, 64 clients"), measurements([*suite(), *slower]))
    assert ahead.met is False
    assert re.fullmatch(r"> bentoml \(\d+; not measured: litserve, coglet\)", ahead.aim)


def results(folder: Path, measured: Measured, notes: str = "") -> str:
    raw = folder / "results"
    raw.mkdir(exist_ok=True)
    write(raw / "suite-20251126T150000Z.jsonl.gz", measured)
    (folder / "notes.md").write_text(notes, encoding="utf-8")
    write_results([raw / "suite-20251126T150000Z.jsonl.gz"], folder / "RESULTS.md", folder / "notes.md")
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_results_say_what_is_met_and_what_is_not(tmp_path: Path) -> None:
    text = results(tmp_path, suite())
    assert "1 of 12 rows are met." in text
    table = text[: text.index("## Side by side")]
    rows = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    link = "[suite-20251126T150000Z.jsonl.gz](results/suite-20251126T150000Z.jsonl.gz)"
    assert re.search(r"p50 ms \| [12]\.\d\d \(.*\) \| ≤ litserve \([34]\.\d\d\) \| yes", rows["| no-op, 1 client"])
    assert re.search(r"≤ 1\.5 \| \*\*no\*\* \| ", text)
    assert "not measured |  |" in rows["| async create"]
    assert f"| % of a core | 0.60 (0.30–0.70) | ≤ 0.5 | **no** | {link} |" in text
    assert "Made by `samovar bench suite`." in text


def test_results_of_other_things_do_not_speak_of_what_must_be_shown(tmp_path: Path) -> None:
    text = results(tmp_path, repeats("transformer, 64 clients"))
    assert "It must show" not in text
    assert "| transformer, 64 clients | samovar |" in text


def test_the_same_data_make_the_same_bytes(tmp_path: Path) -> None:
    assert results(tmp_path, suite()) == results(tmp_path, suite())


def test_a_note_is_shown_under_a_row_that_is_not_met(tmp_path: Path) -> None:
    notes = "# Notes\n\n## no-op, 1 client\n\nThe commit takes 0.7 ms.\n\n## async create\n\nNobody knows.\n"
    assert notes_by_row(tmp_path / "none.md") == {}
    text = results(tmp_path, suite(), notes)
    assert "### What bounds “no-op, 1 client”\n\nThe commit takes 0.7 ms.\n" in text
    assert "Nobody knows" not in text
    assert "0.7 ms" not in results(tmp_path, suite(p50=1.2), notes)


def test_of_two_files_the_last_one_counts_and_both_are_named(tmp_path: Path) -> None:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    write(old, [figure("gateway idle", "MB", [500]), figure("second start", "s", [3.5])])
    write(new, [figure("gateway idle", "MB", [90])])
    write_results([old, new], tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| MB | 90.0 (90.0–90.0) | ≤ 100 | yes | [new.jsonl](new.jsonl) |" in text
    assert "| s | 3.50 (3.50–3.50) | ≤ 4 | yes | [old.jsonl](old.jsonl) |" in text
    assert "500" not in text


def test_results_hold_no_markup_of_others(tmp_path: Path) -> None:
    text = results(tmp_path, [*repeats(HOSTILE, wrong=1, error=HOSTILE, rate=20)])
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\x1b" not in text
    assert all(line.count("|") - line.count("\\|") == 5 for line in text.splitlines() if "503" in line)
