"""The record: targets hold in every filled column, the page is what the record says, slower is said."""

import pytest

from tests.benchmarks import record, run
from tests.benchmarks.harness import Row
from tests.code_paths import CODE_PATHS


def entry(*rows, date="2026-01-01"):
    return {"date": date, "machine": "cpu, 2 cores", "versions": {"torch": "1"}, "rows": list(rows)}


def row(ratio, target=None, spread=None, work="work", peer="peer"):
    made = Row(
        work, peer, "tokens/s", ours=ratio or 1.0, theirs=1.0 if ratio else None, target=target, spread=spread
    )
    return made.as_dict()


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(record, "PAGE", tmp_path / "BENCHMARKS.md")
    monkeypatch.setattr(record, "README", tmp_path / "README.md")
    monkeypatch.setattr(record, "STILL_TO_REACH", tmp_path / "still_to_reach.json")
    record.README.write_text("# Read me\n\n<!-- bench:score --><!-- /bench:score -->\n\nmore\n")
    record.PAGE.write_text("# Benchmarks\n\nwords stay\n\n<!-- bench:summary --><!-- /bench:summary -->\n")
    return tmp_path


def test_a_row_below_its_target_in_some_column_is_named_and_no_other():
    results = record.read_results()
    assert len(record.benchmarks(results)) > 5
    below, named = record.below(results), record.still_to_reach()
    assert [line for wanted, line in below.items() if wanted not in named] == []
    assert named - below.keys() == set(), "reached: strike them from still_to_reach.json"


def test_the_pages_are_what_the_record_says():
    results = record.read_results()
    for path, text in record.pages(results).items():
        assert path.read_text(encoding="utf-8") == text, "python -m tests.benchmarks.run --page writes it"
        assert text.count("<!-- bench:") == text.count("<!-- /bench:")


def test_the_summary_stands_on_top_and_holds_every_ratio_that_is_recorded():
    text = record.PAGE.read_text(encoding="utf-8")
    assert text.index("<!-- bench:summary -->") < 1500
    table = text[text.index("<!-- bench:summary -->") : text.index("<!-- /bench:summary -->")]
    results = record.read_results()
    count = 0
    for column, entries in results.items():
        for entry in entries.values():
            for row in entry["rows"]:
                if row["ratio"] is None:
                    continue
                (line,) = [
                    line
                    for line in table.splitlines()
                    if line.startswith(f"| {row['work']} | {row['peer']} |")
                ]
                cell = line.split("|")[4 + record.makes(results).index(column.removesuffix(record.AVX2))]
                assert record.ratio_of(row) in cell.replace("avx2 ", "")
                count += 1
    assert count > 60
    assert all(f" {make} |" in table for make in record.MAKES)


def test_the_compile_table_is_folded_away():
    text = record.PAGE.read_text(encoding="utf-8")
    before, table = text.split("<!-- compile_ahead -->")
    assert before.rindex("<details>") > before.rfind("</details>")
    assert table.split("<!-- /compile_ahead -->")[0].count("\n| ") > 50


def test_the_score_counts_wins_and_losses_and_names_both():
    results = {
        "AMD EPYC": {
            "a": entry(row(2.0, peer="slow"), row(3.0, peer="slow", work="other"), row(0.5, peer="fast")),
            "c": entry(row(9.0, peer="our plain loop")),
            "b": entry(row(None, work="alone"), row(0.25, peer="fast", work="other"), row(1.0, peer="equal")),
        },
        "AMD EPYC, avx2 path": {"a": entry(row(0.1, peer="slow"))},
    }
    assert record.score(results) == (
        "AMD EPYC, 5 comparisons:\n\n- **as fast or faster in 3**: equal 1x; slow 2x to 3x\n"
        "- **slower in 2**: fast 0.25x to 0.5x\n\nIntel Xeon: not measured yet."
    )


def test_every_recorded_benchmark_is_still_there():
    assert set(record.benchmarks(record.read_results())) <= set(run.names())


def test_a_record_replaces_its_own_column_and_leaves_the_others(files):
    record.record("AMD EPYC", "demo", entry(row(2.0), row(0.5, work="loss")))
    record.record("Intel Xeon", "demo", entry(row(3.0, spread=0.2), date="2026-02-01"))
    record.record("AMD EPYC", "demo", entry(row(2.5), row(0.4, work="loss")))
    text = record.PAGE.read_text(encoding="utf-8")
    assert "words stay" in text
    assert text.count("<!-- bench:demo -->") == 1
    assert "| work | peer |  | **2.5x** | **3x** ± 0.1 |" in text
    assert "| loss | peer |  | 0.4x |  |" in text
    assert "**2x**" not in text
    readme = record.README.read_text(encoding="utf-8")
    assert "- **as fast or faster in 1**: peer 2.5x\n- **slower in 1**: peer 0.4x\n" in readme
    assert readme.startswith("# Read me\n\n<!-- bench:score -->")
    assert readme.endswith("<!-- /bench:score -->\n\nmore\n")


def test_the_avx2_path_stands_in_the_same_cell_as_its_make(files):
    record.record("AMD EPYC", "demo", entry(row(2.0, spread=0.2)))
    record.record("AMD EPYC, avx2 path", "demo", entry(row(0.5), row(0.75, work="only there")))
    text = record.PAGE.read_text(encoding="utf-8")
    assert "| work | peer | at least | AMD EPYC | Intel Xeon |" in text
    assert "| work | peer |  | **2x** ± 0.1<br>avx2 0.5x |  |" in text
    assert "| only there | peer |  | avx2 0.75x |  |" in text


def test_one_column_below_its_target_is_named():
    results = {
        "AMD EPYC": {"demo": entry(row(1.2, target=1.1))},
        "AMD EPYC, avx2 path": {"demo": entry(row(1.0, target=1.0), date="2025-01-01")},
        "Intel Xeon": {},
    }
    (line,) = record.below(results).values()  # the newest target, 1.1, counts in both
    assert line == "work, against peer: AMD EPYC, avx2 path 1x of 1.1x"


def test_a_target_that_is_still_to_reach_stands_in_brackets(files):
    record.record("AMD EPYC", "demo", entry(row(1.2, target=1.1), row(0.9, target=1.5, work="slow")))
    text = record.PAGE.read_text(encoding="utf-8")
    assert "| work | peer | 1.1x |" in text
    assert "| slow | peer | 1.5x |" in text
    record.STILL_TO_REACH.write_text('[["slow", "peer"]]')
    record.write_page(record.read_results())
    text = record.PAGE.read_text(encoding="utf-8")
    assert "| work | peer | 1.1x |" in text
    assert "| slow | peer | (1.5x) |" in text


def test_slower_means_by_more_than_the_spread():
    assert record.slower([row(2.0, spread=0.3)], [row(1.8)]) == []
    assert record.slower([row(2.0)], [row(1.8, spread=0.3)]) == []
    assert record.slower([row(2.0)], [row(2.1)]) == []
    assert record.slower([row(2.0)], [row(None)]) == []
    assert record.slower([row(2.0)], [row(1.0, work="new work")]) == []
    (line,) = record.slower([row(2.0, spread=0.1)], [row(1.8, spread=0.1)])
    assert "work, against peer: 1.8x, before 2x" in line


@pytest.mark.parametrize(
    ("model", "make"),
    [
        ("AMD EPYC", "AMD EPYC"),
        ("AMD EPYC 9654 96-Core Processor", "AMD EPYC"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "Intel Xeon"),
        ("Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz", "Intel Core"),
        ("aarch64", "aarch64"),
    ],
)
def test_a_column_is_the_maker_and_the_family(model, make):
    assert record.make_of(model) == make


def test_both_code_paths_are_measured_and_recorded(files, monkeypatch):
    asked = []

    def measure(name, quick, loud, variables):
        asked.append(variables)
        return [row(2.0 - len(asked))]

    monkeypatch.setattr(run, "measure", measure)
    run.measure_and_record("demo", quiet=True)
    make = record.make_of(record.cpu_model())
    assert asked == [{}, run.AVX2_PATH]
    assert set(run.AVX2_PATH) < set(CODE_PATHS)
    assert list(record.read_results()) == [make, f"{make}, avx2 path"]


def test_presets_of_the_environment_do_not_reach_the_measurement(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("MINILLM_DATA", "kept")
    variables = run.as_the_machine_is()
    assert "OPENBLAS_CORETYPE" not in variables
    assert "ATEN_CPU_CAPABILITY" not in variables
    assert variables["MINILLM_DATA"] == "kept"
