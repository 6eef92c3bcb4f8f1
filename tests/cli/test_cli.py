"""The command line as its user meets it: files written, exit codes, one clear line on bad input."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from autoal.cli import main
from autoal.commands.results import summary_table

RUN = ["run", "--dataset", "digits", "--rounds", "2", "--query-size", "10", "--seeds", "2", "--jobs", "1", "--quiet"]


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 6)).astype(np.float32)
    logits = x @ rng.standard_normal((6, 3)).astype(np.float32)
    labeled = np.arange(12)
    files = {
        "e": x, "l": logits, "m": logits + rng.standard_normal((4, 80, 3)).astype(np.float32),
        "labeled": labeled, "y": logits[labeled].argmax(1),
    }  # fmt: skip
    for name, array in files.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


@pytest.fixture
def bad(capsys):
    """Runs a command line that must fail: exit code 2, one line on stderr with all the words."""

    def check(argv, *words):
        assert main([str(word) for word in argv]) == 2
        printed = capsys.readouterr()
        lines = printed.err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("autoal: "), printed.err
        for word in words:
            assert word in lines[0], lines[0]

    return check


def select_options(folder, **changes):
    options = {"--embeddings": "e", "--logits": "l", "--mc-logits": "m", "--labeled": "labeled", "--labels": "y"}
    words = ["select", "-n", "7"]
    for option, name in (options | changes).items():
        if name is not None:
            words += [option, str(folder / f"{name}.npy")]
    return words


def test_select_obeys_constraints(arrays, capsys):
    groups = np.array(["north", "east", "south"])[np.arange(80) % 3]
    for name, array in {
        "g": groups,
        "c": 1 + np.arange(80) % 2,
        "x": np.arange(20, 40),
        "p": np.array([40, 41]),
    }.items():
        np.save(arrays / f"{name}.npy", array)
    words = select_options(arrays, **{"--groups": "g", "--costs": "c", "--excluded": "x", "--pending": "p"})
    rules = ["--quota", "3", "--cost-budget", "9", "--min-distance", "0.01", "--metric", "l2"]
    assert main([*words, *rules, "--strategy", "kcenter"]) == 0
    printed = capsys.readouterr()
    header, *rows = printed.out.splitlines()
    picks = np.array([int(row.split(",")[0]) for row in rows])
    assert header == "index,score,rank,ask" and picks.min() >= 42
    assert np.unique(groups[picks], return_counts=True)[1].max() <= 3 and (1 + picks % 2).sum() <= 9

    assert main([*words, "--quota", "1", "--cost-budget", "9", "--strategy", "margin"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert "autoal: warning: the query holds 3 of 7 samples" in printed.err and "quota rules out" in printed.err


def test_select_refuses_constraints_that_do_not_fit(arrays, bad):
    np.save(arrays / "g.npy", np.zeros(79, int))
    bad([*select_options(arrays), "--quota", "3"], "quota needs groups")
    bad([*select_options(arrays, **{"--groups": "g"}), "--quota", "3"], "groups must hold one group", "80", "79")
    bad([*select_options(arrays, **{"--pending": "e"})], "pending must be [L] int64")
    bad([*select_options(arrays), "--excluded", "nowhere.npy"], "--excluded: there is no file nowhere.npy")


@pytest.mark.parametrize("strategy", ["autoal", "margin", "bald", "kcenter", "badge"])
def test_select_writes_one_row_per_pick(arrays, strategy, capsys):
    out = arrays / "picks.csv"
    assert main([*select_options(arrays), "--strategy", strategy, "--out", str(out)]) == 0
    header, *rows = [line.split(",") for line in out.read_text().splitlines()]
    assert header[:3] == ["index", "score", "rank"]
    indices = [int(row[0]) for row in rows]
    assert len(set(indices)) == 7 and min(indices) >= 12
    assert [int(row[2]) for row in rows] == list(range(7))
    if strategy == "autoal":
        assert {"votes", "vote_margin", "uncertainty"} <= set(header)
    assert "7 of 80 samples" in capsys.readouterr().err
    again = arrays / "again.csv"
    main([*select_options(arrays), "--strategy", strategy, "--out", str(again)])
    assert again.read_text() == out.read_text()


def test_select_prints_rows_where_no_file_is_named(arrays, capsys):
    assert main([*select_options(arrays), "--strategy", "entropy"]) == 0
    assert capsys.readouterr().out.count("\n") == 8


def test_select_refuses_bad_input_and_leaves_no_file(arrays, bad):
    out = arrays / "picks.csv"
    damaged, empty, pickled, archive = (arrays / name for name in ("damaged.npy", "empty.npy", "pickled.npy", "a.npz"))
    damaged.write_bytes((arrays / "e.npy").read_bytes()[:300])
    empty.write_bytes(b"")
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(archive, x=np.zeros(3))
    np.save(arrays / "nan.npy", np.full((80, 6), np.nan, np.float32))
    np.save(arrays / "short.npy", np.zeros((79, 3), np.float32))
    np.save(arrays / "ints.npy", np.zeros((80, 6), np.int64))
    np.save(arrays / "names.npy", np.array(["a"] * 12))
    np.save(arrays / "twice.npy", np.array([1, 1]))
    np.save(arrays / "far.npy", np.array([80]))
    end = ["--out", out]
    bad([*select_options(arrays), "--strategy", "entropi", *end], "strategy 'entropi'", "Did you mean 'entropy'")
    bad([*select_options(arrays), "-n", "69", *end], "size must be between 1 and 68")
    bad([*select_options(arrays), "-n", "0", *end], "size must be between 1 and 68")
    bad([*select_options(arrays), "-n", "many", *end], "-n", "invalid int")
    bad([*select_options(arrays, **{"--embeddings": "nosuch"}), *end], "--embeddings", "no file")
    bad([*select_options(arrays, **{"--embeddings": "damaged"}), *end], "--embeddings", "no readable .npy")
    bad([*select_options(arrays, **{"--embeddings": "empty"}), *end], "--embeddings", "no readable .npy")
    bad([*select_options(arrays, **{"--embeddings": "pickled"}), *end], "--embeddings", "no readable .npy")
    bad(["select", "-n", "3", "--strategy", "random", "--embeddings", archive, *end], "--embeddings", "npz archive")
    bad([*select_options(arrays, **{"--embeddings": "nan"}), *end], "embeddings holds NaN or Inf in rows 0, 1")
    bad([*select_options(arrays, **{"--logits": "short"}), *end], "embeddings: 80", "logits: 79")
    bad([*select_options(arrays, **{"--embeddings": "ints"}), *end], "embeddings must be [N, D] float", "int64")
    bad([*select_options(arrays, **{"--labels": "names"}), *end], "labels must be", "class names")
    bad([*select_options(arrays, **{"--labels": "twice"}), *end], "labels must hold one label for each of the 12")
    for labeled, words in (("twice", "must not repeat"), ("far", "must lie in [0, 80)")):
        given = select_options(arrays, **{"--labeled": labeled, "--labels": None})
        bad([*given, "--strategy", "random", *end], "labeled", words)
    bad([*select_options(arrays, **{"--labeled": None}), *end], "--labels needs --labeled")
    bad([*select_options(arrays, **{"--labels": None}), *end], "strategy 'autoal' needs --labels")
    bad(["select", "-n", "3", "--strategy", "bald", "--embeddings", arrays / "e.npy", *end], "needs --mc-logits")
    bad(["select", "-n", "3", *end], "--embeddings, --logits or --mc-logits")
    bad([*select_options(arrays), "--out", arrays], "--out must be a file")
    bad([*select_options(arrays), "--out", arrays / "e.npy" / "picks.csv"], "--out")
    bad([*select_options(arrays), "--seed", "-1", *end], "seed must be")
    assert not out.exists()


def test_select_names_rows_that_are_no_distribution(arrays, bad):
    logits = np.load(arrays / "l.npy")
    logits[[20, 30], 1] = np.nan
    np.save(arrays / "holes.npy", logits)
    out = arrays / "picks.csv"
    for strategy in ("margin", "badge"):
        bad([*select_options(arrays, **{"--logits": "holes"}), "--strategy", strategy, "--out", out], "logits", "row")
    assert not out.exists()


def test_usage(bad, capsys):
    bad([], "COMMAND")
    bad(["rnu"], "rnu")
    bad(["run", "--dataset", "digits"], "--out")
    bad(["select", "--no-such-option"], "see autoal select --help")
    for words in (["--help"], ["run", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
    assert "autoal 0." in capsys.readouterr().out


def test_run_refuses_bad_input_before_any_work(tmp_path, bad):
    file = tmp_path / "file"
    file.write_text("")
    out = ["--out", tmp_path / "out"]
    bad([*RUN, "--out", file], "--out must be a folder")
    bad([*RUN, "--out", file / "below"], "--out must be a folder")
    bad([*RUN, *out, "--strategy", "margni"], "Did you mean 'margin'")
    bad([*RUN, *out, "--model", "linaer"], "Did you mean 'linear'")
    bad([*RUN, *out, "--candidates", "entropy,margni"], "Did you mean 'margin'")
    bad([*RUN, *out, "--variant", "papers"], "Did you mean 'paper'")
    bad([*RUN, *out, "--search", "adaptve"], "Did you mean 'adaptive'")
    bad([*RUN, *out, "--query", "top"], "belong to variant='paper'")
    bad([*RUN, *out, "--no-loss-prediction"], "belong to variant='paper'")
    bad(["run", "--dataset", "digits", "--strategy", "margin", "--no-loss-prediction", *out], "--loss-prediction is of")
    bad([*RUN, *out, "--device", "gpu"], "device")
    bad([*RUN, *out, "--candidates", ""], "unknown strategy ''")
    bad([*RUN, *out, "--candidates", "entropy, entropy"], "'entropy' comes 2 times")
    bad([*RUN, *out, "--dataset", "letters"], "Did you mean 'letter'")
    bad([*RUN, "--out", ""], "--out must name a folder")
    bad(["run", "--dataset", "digits", "--strategy", "margin", "--search", "none", *out], "add --strategy autoal")
    bad([*RUN, *out, "--features", "minilm"], "features 'minilm' are for texts")
    bad([*RUN, *out, "--rounds", "1000"], "exceed", "1197")
    bad([*RUN, *out, "--rounds", "0"], "rounds must be at least 1")
    bad([*RUN, *out, "--seeds", "0"], "seeds must be between 1 and")
    bad([*RUN, *out, "--initial-size", "0"], "initial_size")
    bad(["run", "--dataset", "digist", *out], "Did you mean 'digits'")
    bad(["run", "--dataset", tmp_path / "no.npz", *out], "there is no file")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("text.npz", "array.npz"):
        bad(["run", "--dataset", tmp_path / name, *out], f"{name} is no .npz file", "numpy.savez")
    assert not list(tmp_path.rglob("*.jsonl")) and not list(tmp_path.rglob("*.png"))


def test_run_writes_its_files_and_goes_on(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    command = [
        *RUN,
        "--strategy",
        "autoal",
        "--strategy",
        "random",
        "--candidates",
        "entropy,kcenter",
        "--out",
        str(out),
    ]
    assert main(command) == 0
    assert "autoal" in capsys.readouterr().out
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 2 * 3
    keys = {"dataset", "strategy", "seed", "round", "labeled", "accuracy", "balanced_accuracy"}
    assert all(keys | {"query_seconds", "fit_seconds"} <= set(line) for line in lines)
    assert [line["labeled"] for line in lines[:3]] == [20, 30, 40]
    weights = [line["strategy_weights"] for line in lines if line["strategy"] == "autoal" and line["round"] > 0]
    assert all(set(w) == {"entropy", "kcenter"} and sum(w.values()) == pytest.approx(1) for w in weights)
    for seed in (0, 1):
        start = {line["accuracy"] for line in lines if line["round"] == 0 and line["seed"] == seed}
        assert len(start) == 1, "strategies start from the same labels"
    summary = json.loads((out / "summary.json").read_text())
    curve = [line["accuracy"] for line in lines if line["strategy"] == "random" and line["round"] > 0]
    assert summary["aulc"]["random"]["mean"] == pytest.approx(np.mean(curve))
    assert summary["aulc"]["random"]["n"] == 2
    assert set(summary["win_rate"]["autoal"]) == {"random"}
    assert summary["query_seconds"]["autoal"]["mean"] > 0
    for name in ("learning_curve.png", "strategy_weights.png"):
        assert (out / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"

    from autoal.experiment import grid

    done = []
    original = grid.run_cell
    monkeypatch.setattr(grid, "run_cell", lambda cell, *a, **k: done.append(cell) or original(cell, *a, **k))
    before = (out / "metrics.jsonl").read_text()
    assert main(command) == 0
    assert not done and (out / "metrics.jsonl").read_text() == before, "nothing is computed twice"
    next((out / "cells").iterdir()).unlink()
    assert main(command) == 0
    assert len(done) == 1, "what was lost is computed again"
    assert main([*command, "--seeds", "3"]) == 0
    assert len(done) == 3 and {cell.seed for cell in done[1:]} == {2}, "more seeds extend"
    assert not [path for path in out.rglob(".*")], "no temporary file is left"


def test_run_on_an_npz_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((150, 4))
    y = np.where(x[:, 0] + 0.3 * rng.standard_normal(150) > 0, "up", "down")
    x[:, 3] *= 1000
    np.savez(tmp_path / "own.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    out = tmp_path / "out"
    command = ["run", "--dataset", str(tmp_path / "own.npz"), "--strategy", "margin", "--initial-size", "10"]
    assert main([*command, "--query-size", "5", "--rounds", "3", "--seeds", "1", "--out", str(out), "--quiet"]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["datasets"]["own"]["features"] == "raw, columns standardized"
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["labeled"] == 25 and last["accuracy"] > 0.7


def test_two_sets_of_one_name(tmp_path, bad):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        x, y = np.arange(60.0).reshape(30, 2), np.arange(30) % 2
        np.savez(tmp_path / folder / "set.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = [*RUN, "--initial-size", "5", "--query-size", "2", "--out", tmp_path / "out", "--strategy", "random"]
    words[2] = tmp_path / "a" / "set.npz"
    bad([*words, "--dataset", tmp_path / "b" / "set.npz"], "2 are called 'set'")


def test_select_may_be_told_the_number_of_classes(arrays, capsys, bad):
    options = select_options(arrays, **{"--logits": None, "--mc-logits": None})
    words = [*map(str, options), "--n-classes"]
    assert main([*words, "5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    bad([*words, "1"], "labels must lie in [0, 1)")


def test_several_sets_are_shown_apart():
    area = {"mean": 0.5, "sem": 0.01, "n": 2}
    one, two = {"autoal": {**area, "mean": 0.75}}, {"autoal": {**area, "mean": 0.25, "sem": None}}
    seconds = {"autoal": {"mean": 1.0, "sem": None, "n": 1}}
    printed = summary_table(
        {"aulc": {"autoal": area}, "aulc_by_dataset": {"a": one, "b": two}, "query_seconds": seconds}
    )
    for word in ("50.00 ± 1.00", " a ", "75.00 ± 1.00", " b ", "25.00", "1.000"):
        assert word in printed
    assert "75.00" not in summary_table(
        {"aulc": {"autoal": area}, "aulc_by_dataset": {"a": one}, "query_seconds": seconds}
    )


def test_faults_of_the_machine_take_one_line(arrays, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the machine\nis on fire")

    monkeypatch.setattr("autoal.commands.select.select", fail)
    assert main([str(word) for word in select_options(arrays)]) == 1
    assert capsys.readouterr().err.startswith("autoal: the machine is on fire (with AUTOAL_DEBUG=1")


def test_warnings_take_one_line(arrays, capsys):
    np.save(arrays / "copies.npy", np.zeros((80, 4), np.float32))
    assert main(["select", "-n", "3", "--embeddings", str(arrays / "copies.npy"), "--strategy", "kcenter"]) == 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("autoal: warning: ") and "copies" in lines[0] and len(lines) == 2


def test_tables(capsys):
    assert main(["strategies"]) == 0 and main(["datasets"]) == 0 and main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for word in ("variation_ratio", "mc_logits", "fashion-mnist", "instruction set", "cuda:", "faiss:"):
        assert word in printed


def test_python_m_and_help_without_torch():
    code = (
        "import sys, autoal.cli\ntry: autoal.cli.main(['--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    printed = subprocess.run([sys.executable, "-m", "autoal", "select"], capture_output=True, text=True)
    assert printed.returncode == 2 and "Traceback" not in printed.stderr and printed.stderr.count("\n") == 1


def test_debug_shows_the_traceback():
    words = [sys.executable, "-m", "autoal", "select", "-n", "3"]
    printed = subprocess.run(words, env=os.environ | {"AUTOAL_DEBUG": "1"}, capture_output=True, text=True)
    assert "Traceback" in printed.stderr
