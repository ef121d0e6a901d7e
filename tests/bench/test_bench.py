"""What the benchmark computes: ratios, goals, what counts as slower, the sparse database, plots that can be read.

    python3 -m pytest tests/bench -q"""

import pathlib
import sqlite3
import sys
import xml.dom.minidom

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import bench  # noqa: E402, F401 (finds the modules of the cluster tests)
import plots  # noqa: E402
import regressions  # noqa: E402
import report  # noqa: E402
import sparse  # noqa: E402
from figures import at_least, at_most, compared, measured, ratio_of_rounds  # noqa: E402

MACHINE = {"processor": "p", "cores": 2, "kernel": "k", "filesystem": "ext4", "commit": "c", "date": "d",
           "memory_mib": 1, "sqlite": "3", "libfuse": "3", "load_before": 0, "command": "run.sh", "minutes": 1.0}


def run_of(*figures, quick=False, **machine):
    return {"quick": quick, "machine": {**MACHINE, **machine}, "failed": {},
            "figures": [figure.as_json() for figure in figures]}


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # The machine was twice as slow in the second round, for both: that does not count.
    assert ratio_of_rounds([10, 20, 10], [5, 10, 5]) == 2


def test_ratios_are_as_the_table_defines_them():
    time = compared("k", "t", "us", ours=[20.0] * 5, theirs=[10.0] * 5, goal=at_least(0.95))
    assert (time.ratio, time.ratio_name, time.reached) == (0.5, "native / ours", False)
    cost = compared("k", "t", "us", ours=[12.0] * 5, theirs=[10.0] * 5, ours_over_theirs=True, goal=at_most(1.3))
    assert (cost.ratio, cost.ratio_name, cost.reached) == (1.2, "ours / native", True)
    rate = compared("k", "t", "/s", ours=[95.0] * 5, theirs=[100.0] * 5, times=False, goal=at_least(0.9))
    assert (rate.ratio, rate.ratio_name, rate.reached) == (0.95, "ours / native", True)


def test_rounds_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError):
        ratio_of_rounds([1, 2], [1])


@pytest.mark.parametrize("kind", [{}, {"ours_over_theirs": True}, {"times": False}])
def test_slower_is_found_in_whatever_direction_a_ratio_is(kind):
    def figure(ours):
        ours = [1e6 / value for value in ours] if kind.get("times") is False else ours
        theirs = [1e6 / 10.0] * 5 if kind.get("times") is False else [10.0] * 5
        return compared("k", "the title", "us", ours, theirs, **kind)
    old, same, slower, faster = (run_of(figure([value] * 5)) for value in (20.0, 21.0, 30.0, 10.0))
    assert regressions.find(old, same) == (None, [])
    assert regressions.find(old, faster) == (None, [])
    reason, lines = regressions.find(old, slower)
    assert reason is None and len(lines) == 1 and "the title: 50% worse" in lines[0]


def test_a_noisy_figure_needs_more_than_its_noise():
    quiet, noisy = run_of(measured("k", "t", "ms", [10.0] * 5)), run_of(measured("k", "t", "ms", [9, 10, 13, 16, 20]))
    assert regressions.find(quiet, noisy) == (None, [])
    assert len(regressions.find(quiet, run_of(measured("k", "t", "ms", [13.0] * 5)))[1]) == 1


def test_something_where_there_was_nothing_is_worse():
    none, some = run_of(measured("k", "t", "/s", [0.0])), run_of(measured("k", "t", "/s", [3.0]))
    assert len(regressions.find(none, some)[1]) == 1
    assert regressions.find(some, none) == (None, [])


def test_runs_of_another_machine_or_size_are_not_compared():
    run = run_of(measured("k", "t", "ms", [1.0]))
    assert regressions.find(None, run)[0]
    assert "kernel" in regressions.find(run_of(kernel="older"), run)[0]
    assert "quick" in regressions.find(run_of(quick=True), run)[0]


@pytest.mark.parametrize("mib", [1, 5, 200])
def test_the_sparse_database_is_a_valid_one_of_its_size(tmp_path, mib):
    path = tmp_path / "sparse.db"
    sparse.make(path, mib)
    assert path.stat().st_size == mib * 2**20
    assert path.stat().st_blocks * 512 < 2**20
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA page_count").fetchone() == (mib * 256,)
    assert connection.execute("PRAGMA freelist_count").fetchone()[0] > mib * 256 - 10
    connection.execute("INSERT INTO bench(value) VALUES(randomblob(100000))")
    connection.commit()
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA page_count").fetchone() == (mib * 256,)


def test_a_bar_stands_where_the_goal_says():
    figure = compared("k", "t", "us", [20.0] * 5, [10.0] * 5, ours_over_theirs=True, goal=at_most(1.0))
    assert plots.standing(figure.as_json()) == 0.5
    assert plots.standing(measured("k", "t", "/s", [0.0], goal=at_most(0, "value")).as_json()) == 1
    assert plots.standing(measured("k", "t", "MiB", [64.0], goal=at_most(256, "value")).as_json()) == 4


def test_plots_are_xml_and_name_every_figure():
    figures = [measured("visible.p50", "visible <p50>", "ms", [0.5], goal=at_most(1, "value"),
                        series=[[0.0, 0.1], [0.5, 0.5], [0.99, 4.0]]),
               measured("growth.log", "commit, log of 1 to 10", "us", [10.0], goal=at_most(20, "value"),
                        series=[[1, 9.0], [10, 10.0]])]
    made = plots.all_of(run_of(*figures)["figures"])
    assert set(made) == {"goals.svg", "visible.svg", "growth.svg"}
    for content in made.values():
        xml.dom.minidom.parseString(content)
    assert "visible &lt;p50&gt;" in made["goals.svg"]


def test_the_table_says_what_was_not_measured_and_what_is_slower():
    old, new = run_of(measured("k", "the title", "ms", [1.0])), run_of(measured("k", "the title", "ms", [2.0]))
    new["failed"]["snapshot"] = "no room"
    text = report.markdown(new, old)
    assert "**snapshot was not measured:** no room" in text
    assert "the title: 100% worse" in text
