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

from benchmarks.aims import AIMS, Aim, aim_outcomes, is_aim_met
from benchmarks.figures import group_measurements
from benchmarks.report.html import render_page, write_html
from benchmarks.report.plots import create_plots, render_svg, write_plots
from benchmarks.report.results import notes_by_row, write_results
from benchmarks.samples import Figure, Repeat, write_measurements
from benchmarks.tables import (
    answer_table,
    cost_table,
    describe_plan,
    event_table,
    format_number,
    print_tables,
    stage_table,
)
from tests.bench.synthetic import create_figure, create_repeats

HOSTILE = '<script>alert("x")</script> $\\frac{ [red] | `a` \x1b[31m ]]> -->'
Measured = Sequence[Repeat | Figure]


def print_measurements(measured: Measured, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_tables(measured, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_table_has_a_row_for_each_measurement_of_each_target() -> None:
    rows = group_measurements(
        [*create_repeats(), *create_repeats(target="litserve", ms=4.0), *create_repeats("tokens", events=4)]
    )
    assert [row[:2] for row in answer_table(rows).rows] == [
        ["no-op, 32 clients", "samovar"],
        ["no-op, 32 clients", "litserve"],
        ["tokens", "samovar"],
    ]
    assert [row[0] for row in event_table(rows).rows] == ["tokens"]


def test_a_table_in_a_pipe_has_a_limited_width() -> None:
    text = print_measurements(
        [*create_repeats(), *create_repeats(target="litserve"), create_figure("gateway idle", "MB", [91.0, 92.0, 93.0])]
    )
    assert max(len(line) for line in text.splitlines()) <= 140
    assert "91.0" in text
    assert "92.0 (91.0–93.0)" in text
    assert "\x1b" not in text


def test_wrong_answers_come_first_and_by_reason() -> None:
    text = print_measurements([*create_repeats(wrong=3, count=2), *create_repeats("fine")])
    assert text.startswith("WRONG ANSWERS")
    assert re.search(r"503 Service Unavailable +│ +6 of \d+", text)
    assert "WRONG" not in print_measurements([*create_repeats("fine")])


def test_costs_are_by_kind_of_process_with_the_load_generator_last() -> None:
    (one,) = create_repeats(count=1)
    sheet = cost_table(group_measurements([one, *create_repeats(target="mosec", count=1)]))
    assert sheet.columns[2:] == ["gateway", "worker", "server", "load generator", "all but the load generator"]
    assert sheet.rows[0][2] == format_number(0.2e6 / len(one.samples))


def test_stages_are_shown_of_targets_that_report_them() -> None:
    sheet = stage_table(group_measurements([*create_repeats(), *create_repeats(target="mosec")]))
    assert (sheet.columns[2:], sheet.rows) == (
        ["accepted", "committed"],
        [["no-op, 32 clients", "samovar", "0.20", "0.70"]],
    )


def test_a_busy_machine_has_a_warning() -> None:
    assert "NOT QUIET" in print_measurements([*create_repeats(busy=3.0)])
    assert "NOT QUIET" not in print_measurements([*create_repeats(busy=0.2), *create_repeats("later", busy=0.2)])


def test_a_plan_is_described_without_its_password() -> None:
    (one,) = create_repeats(count=1, arrivals="poisson", rate=70)
    text = describe_plan(one.plan, 5)
    assert text.startswith("open loop, 70/s poisson, 32 connections at most, sync, 5 × 1 s after 1 s of warm-up: ")
    assert text.endswith("http://127.0.0.1:8080/v1/models/samovar/noop/predictions")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (20547.9, "20,548")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert format_number(value) == text


def plotted_measurements() -> Measured:
    return [
        *create_repeats(),
        *create_repeats(target="litserve", ms=4.0),
        *create_repeats("no-op, 1 client", clients=1, rate=90),
        *create_repeats("failing", wrong=1000, rate=20),
        create_figure("gateway idle", "MB", [91.0]),
    ]


def test_plots_are_png_files_of_every_kind(tmp_path: Path) -> None:
    written = write_plots(plotted_measurements(), tmp_path / "plots")
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


def test_names_that_differ_only_in_signs_have_separate_files(tmp_path: Path) -> None:
    measured = [one for name in ("a b", "../a/b", "a+b") for one in create_repeats(name, rate=9)]
    written = write_plots(measured, tmp_path)
    assert len(set(written)) == len(written) == len(list(tmp_path.iterdir()))
    assert all(path.parent == tmp_path for path in written)


def test_a_plot_is_reproducible() -> None:
    rows = group_measurements(create_repeats(count=2, rate=50))
    assert [render_svg(one) for one in create_plots(rows)] == [render_svg(one) for one in create_plots(rows)]


class PageParser(HTMLParser):
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


def parse_page(measured: Measured) -> PageParser:
    parser = PageParser()
    parser.feed(render_page(group_measurements(measured)))
    return parser


def test_a_page_escapes_names_and_errors() -> None:
    hostile = create_repeats(HOSTILE, HOSTILE, wrong=1, error=HOSTILE, rate=30)
    there = parse_page([*hostile, create_figure(HOSTILE, HOSTILE, [1.0], HOSTILE)])
    assert "script" not in there.tags
    assert there.text.count('<script>alert("x")</script>') >= 5
    assert "\x1b" not in there.text


def test_a_page_refers_to_no_other_file(tmp_path: Path) -> None:
    write_html(plotted_measurements(), tmp_path / "report.html")
    there = parse_page(plotted_measurements())
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {link[:5] for link in there.links if not link.startswith("#")} <= {"data:"}
    assert there.tags.count("svg") == 7
    assert len(there.ids) == len(set(there.ids))
    assert {link[1:] for link in there.links if link.startswith("#")} <= set(there.ids)
    for words in ("WRONG ANSWERS", "Latency by percentile", "A Processor, 2 cores", "closed loop, 32 clients"):
        assert words in there.text


def test_a_page_of_figures_only_has_no_plots() -> None:
    there = parse_page([create_figure("gateway idle", "MB", [91.0])])
    assert "svg" not in there.tags
    assert "91.0" in there.text


def test_a_plot_of_hostile_names_is_well_formed() -> None:
    for one in create_plots(
        group_measurements([*create_repeats(HOSTILE, HOSTILE, rate=30), *create_repeats("x" * 300, "y" * 300, rate=30)])
    ):
        ElementTree.fromstring(render_svg(one))


def suite_measurements(p50: float = 2.0, litserve: float = 4.0) -> Measured:
    return [
        *create_repeats("no-op, 1 client", clients=1, ms=p50),
        *create_repeats("no-op, 1 client", "litserve", clients=1, ms=litserve),
        *create_repeats("minilm, 64 clients", rate=260),
        *create_repeats("minilm, 64 clients", "mosec", rate=240),
        create_figure("bare loop, minilm", "texts/s, batches of 32", [265, 266, 264], "bare loop"),
        create_figure("gateway idle", "MB", [90, 91, 92]),
        create_figure("gateway idle", "% of a core", [0.3, 0.7, 0.6]),
    ]


def find_aim(what: str) -> Aim:
    return next(one for one in AIMS if one.what == what)


def is_met(what: str, measured: Measured) -> bool | None:
    return is_aim_met(aim_outcomes(find_aim(what), group_measurements(measured)))


def test_there_are_twelve_aims() -> None:
    assert len({one.what for one in AIMS}) == len(AIMS) == 12


def test_an_aim_is_met_when_all_of_its_bounds_are() -> None:
    assert is_met("no-op, 1 client", suite_measurements(p50=1.2)) is True
    assert is_met("no-op, 1 client", suite_measurements(p50=1.2, litserve=0.9)) is False
    assert is_met("no-op, 1 client", suite_measurements(p50=2.0)) is False
    assert is_met("minilm, 64 clients", suite_measurements()) is True
    assert is_met("gateway idle", suite_measurements()) is False


def test_an_aim_that_was_not_measured_is_neither_met_nor_missed() -> None:
    alone = [
        one for one in suite_measurements(p50=1.2) if not (isinstance(one, Repeat) and one.plan.target == "litserve")
    ]
    assert is_met("no-op, 1 client", alone) is None
    assert is_met("async create", suite_measurements()) is None


def test_an_aim_with_wrong_answers_is_not_met() -> None:
    fast = [*create_repeats("no-op, 1 client", ms=1.0, wrong=1), *create_repeats("no-op, 1 client", "litserve")]
    assert is_met("no-op, 1 client", fast) is False


def test_the_best_measured_rival_sets_the_bound() -> None:
    slower = [
        *create_repeats("minilm, 64 clients", "ray", rate=100),
        *create_repeats("minilm, 64 clients", "bentoml", rate=300),
    ]
    (_, ahead) = aim_outcomes(find_aim("minilm, 64 clients"), group_measurements([*suite_measurements(), *slower]))
    assert ahead.is_met is False
    assert re.fullmatch(r"> bentoml \(\d+; not measured: litserve, coglet\)", ahead.aim)


def render_results(folder: Path, measured: Measured, notes: str = "") -> str:
    raw = folder / "results"
    raw.mkdir(exist_ok=True)
    write_measurements(raw / "suite-20251126T150000Z.jsonl.gz", measured)
    (folder / "notes.md").write_text(notes, encoding="utf-8")
    write_results([raw / "suite-20251126T150000Z.jsonl.gz"], folder / "RESULTS.md", folder / "notes.md")
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_results_say_what_is_met_and_what_is_not(tmp_path: Path) -> None:
    text = render_results(tmp_path, suite_measurements())
    assert "1 of 12 rows are met." in text
    table = text[: text.index("## Side by side")]
    rows = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| ")}
    link = "[suite-20251126T150000Z.jsonl.gz](results/suite-20251126T150000Z.jsonl.gz)"
    assert re.search(r"p50 ms \| [12]\.\d\d \(.*\) \| ≤ litserve \([34]\.\d\d\) \| yes", rows["| no-op, 1 client"])
    assert re.search(r"≤ 1\.5 \| \*\*no\*\* \| ", text)
    assert "not measured |  |" in rows["| async create"]
    assert f"| % of a core | 0.60 (0.30–0.70) | ≤ 0.5 | **no** | {link} |" in text
    assert "Made by `samovar bench suite`." in text


def test_results_without_a_measured_aim_have_no_table_of_aims(tmp_path: Path) -> None:
    text = render_results(tmp_path, create_repeats("transformer, 64 clients"))
    assert "It must show" not in text
    assert "| transformer, 64 clients | samovar |" in text


def test_the_same_data_make_the_same_bytes(tmp_path: Path) -> None:
    assert render_results(tmp_path, suite_measurements()) == render_results(tmp_path, suite_measurements())


def test_a_note_is_shown_under_an_aim_that_is_not_met(tmp_path: Path) -> None:
    notes = "# Notes\n\n## no-op, 1 client\n\nThe commit takes 0.7 ms.\n\n## async create\n\nNobody knows.\n"
    assert notes_by_row(tmp_path / "none.md") == {}
    text = render_results(tmp_path, suite_measurements(), notes)
    assert "### What bounds “no-op, 1 client”\n\nThe commit takes 0.7 ms.\n" in text
    assert "Nobody knows" not in text
    assert "0.7 ms" not in render_results(tmp_path, suite_measurements(p50=1.2), notes)


def test_the_last_of_two_files_counts_and_both_are_named(tmp_path: Path) -> None:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    write_measurements(old, [create_figure("gateway idle", "MB", [500]), create_figure("second start", "s", [3.5])])
    write_measurements(new, [create_figure("gateway idle", "MB", [90])])
    write_results([old, new], tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| MB | 90.0 (90.0–90.0) | ≤ 100 | yes | [new.jsonl](new.jsonl) |" in text
    assert "| s | 3.50 (3.50–3.50) | ≤ 4 | yes | [old.jsonl](old.jsonl) |" in text
    assert "500" not in text


def test_results_escape_markup_in_names(tmp_path: Path) -> None:
    text = render_results(tmp_path, [*create_repeats(HOSTILE, wrong=1, error=HOSTILE, rate=20)])
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\x1b" not in text
    assert all(line.count("|") - line.count("\\|") == 5 for line in text.splitlines() if "503" in line)
