"""``autoal compare`` as its user meets it: over folders, over a grid of its own, and what it refuses."""

import json

import numpy as np
import pytest

from autoal.cli import main


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A small set of the user's, and the words of a command that runs two strategies on it."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((160, 4))
    y = np.where(x[:, 0] + 0.3 * rng.standard_normal(160) > 0, "up", "down")
    np.savez(folder / "own.npz", x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    sizes = ["--initial-size", "4C", "--query-size", "C", "--rounds", "2", "--seeds", "6", "--jobs", "1", "--quiet"]
    return folder, ["--dataset", str(folder / "own.npz"), *sizes]


@pytest.fixture(scope="module")
def ran(own):
    """Two folders of results: of the pool as it is, and with wrong labels."""
    folder, words = own
    for name, more in (("plain", ["--strategy", "margin"]), ("noisy", ["--label-noise", "0.2"])):
        command = ["run", *words, *more, "--strategy", "random", "--strategy", "entropy", "--out", str(folder / name)]
        assert main(command) == 0
    return folder


def test_folders_are_compared(ran, tmp_path, capsys):
    out = tmp_path / "both"
    assert main(["compare", str(ran / "plain"), str(ran / "noisy"), "--reference", "entropy", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for word in ("own, label-noise=0.2", "entropy against", "p (Holm)", "report.html"):
        assert word in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["reference"] == "entropy" and set(summary["comparisons"]) == {"margin", "random"}
    assert summary["comparisons"]["random"]["pairs"] == 12 and summary["comparisons"]["margin"]["pairs"] == 6
    assert {"aulc", "win_rate", "query_seconds", "aulc_by_dataset"} <= set(summary)
    assert "Not run on all data sets" in (out / "report.html").read_text()


def test_without_folders_it_is_run(own, tmp_path, capsys):
    _, words = own
    for command in ("compare", "run"):
        assert (
            main([command, *words, "--strategy", "margin", "--strategy", "random", "--out", str(tmp_path / command)])
            == 0
        )
    names = [sorted(path.name for path in (tmp_path / command).iterdir()) for command in ("compare", "run")]
    assert names[0] == names[1] and "report.html" in names[0]
    summaries = [json.loads((tmp_path / command / "summary.json").read_text()) for command in ("compare", "run")]
    assert summaries[0]["comparisons"] == summaries[1]["comparisons"]
    assert summaries[0]["comparisons"]["random"]["p"] is not None
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert first["labeled"] == 8, "4C of two classes"
    assert capsys.readouterr().out.count("margin against") == 2


def test_bad_input(ran, tmp_path, capsys):
    def bad(words, *expected):
        assert main([str(word) for word in words]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("autoal: ")
        for word in expected:
            assert word in line

    out = ["--out", tmp_path / "out"]
    bad(["compare", *out], "folders of results to compare, or --dataset")
    bad(["compare", ran / "plain"], "--out")
    bad(["compare", ran / "nothing", *out], "no finished results")
    bad(["compare", ran, *out], "config.json is missing")
    bad(["compare", ran / "plain", "--dataset", "digits", *out], "--dataset is of a new run")
    bad(["compare", ran / "plain", "--label-noise", "0.1", *out], "--label-noise is of a new run")
    bad(["compare", ran / "plain", "--reference", "badge", *out], "unknown reference 'badge'")
    bad(["compare", ran / "plain", "--out", ran / "plain"], "name another")
    run = ["run", "--dataset", "digits", *out]
    bad([*run, "--strategy", "margin", "--reference", "random"], "unknown reference 'random'")
    bad([*run, "--label-noise", "2"], "label_noise must be")
    bad([*run, "--imbalance", "0.5"], "imbalance must be")
    bad([*run, "--imbalance", "5000"], "no whole sample")
    bad([*run, "--pool-size", "99999"], "pool_size must be at most 1197")
    bad([*run, "--duplicates", "0"], "duplicates must be at least 1")
    bad([*run, "--query-size", "2D"], "query_size must be an integer, or a multiple")
    bad([*run, "--initial-size", "-3"], "initial_size must be at least 1")
    bad([*run, "--jobs", "0"], "jobs must be at least 1")
    assert not (tmp_path / "out" / "summary.json").exists()
