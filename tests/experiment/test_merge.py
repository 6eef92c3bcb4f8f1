"""Results of several folders as one: what belongs together is joined, what contradicts is refused."""

import json
import shutil

import pytest

from autoal.experiment import merge, results
from autoal.experiment.cells import Settings
from autoal.experiment.conditions import Condition
from autoal.experiment.grid import run_grid

SMALL = Settings(initial_size=6, query_size=3, rounds=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_data):
    """a, b: two strategies each on one set; noisy: one of them under label noise; other: another set."""
    top, data = tmp_path_factory.mktemp("results"), make_data()
    run_grid([data], ["random", "margin"], [0, 1], SMALL, top / "a")
    run_grid([data], ["margin", "entropy"], [1, 2], SMALL, top / "b")
    run_grid([data], ["random"], [0, 1], SMALL, top / "noisy", condition=Condition(label_noise=0.2))
    run_grid([make_data("other", seed=1)], ["random"], [0, 1], SMALL, top / "other")
    return top


def edited(folders, tmp_path, name, **changes):
    """A copy of a folder with another configuration."""
    shutil.copytree(folders / name, tmp_path / "edited")
    path = tmp_path / "edited" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return tmp_path / "edited"


def test_what_two_folders_hold_is_joined_and_what_both_hold_comes_once(folders, tmp_path):
    records, config = merge.merged([folders / name for name in ("a", "b", "noisy", "other")])
    runs = {(merge.task_of(r), r["strategy"], r["seed"]) for r in records}
    assert len(records) == 3 * len(runs) == 3 * (4 + 4 - 1 + 2 + 2)
    assert config["strategies"] == ["random", "margin", "entropy"] and config["seeds"] == [0, 1, 2]
    assert set(config["datasets"]) == {"small", "other"} and config["conditions"] == ["", "label-noise=0.2"]
    summary = results.write(tmp_path, records, config, None)
    assert list(summary["aulc_by_dataset"]) == ["small", "small, label-noise=0.2", "other"]
    again, same = merge.merged([tmp_path])
    assert (again, same) == (records, json.loads((tmp_path / "config.json").read_text())), "it is a folder like others"


def test_one_folder_gives_the_statistics_of_its_run(folders, tmp_path):
    records, config = merge.merged([folders / "a"])
    results.write(tmp_path, records, config, None)
    for name in ("summary.json", "metrics.jsonl", "report.html"):
        assert (tmp_path / name).read_text() == (folders / "a" / name).read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rounds": 3}, None),
        ({"query_size": 4}, "query_size is 3 in one and 4 in the other"),
        ({"model": "mlp"}, "model is linear in one and mlp"),
        ({"own": {"margin": ["module:Margin", "0"]}}, "strategy 'margin' is None in one"),
    ],
)
def test_other_settings_are_refused(folders, tmp_path, change, words):
    with pytest.raises(ValueError, match=words or "lacks rounds"):
        merge.merged([folders / "a", edited(folders, tmp_path, "b", **change)])


def test_other_settings_of_autoal_clash_only_where_both_have_it():
    base = {"initial_size": 1, "query_size": 1, "rounds": 1, "model": "linear", "device": "cpu", "datasets": {}}
    plain, default = base | {"strategies": ["autoal"]}, base | {"strategies": ["autoal"], "variant": "coverage"}
    paper, without = default | {"variant": "paper"}, base | {"strategies": ["random"], "variant": None}
    merge.check_settings(plain, default, "a", "b")
    merge.check_settings(without, paper, "a", "b")
    assert merge.joined({**without, "seeds": []}, {**paper, "seeds": []})["variant"] == "paper"
    with pytest.raises(ValueError, match="strategy 'autoal'"):
        merge.check_settings(plain, paper, "a", "b")


def test_other_data_or_results_under_one_name_are_refused(folders, tmp_path, make_data):
    run_grid([make_data("small", seed=5)], ["random"], [0], SMALL, tmp_path / "data")
    with pytest.raises(ValueError, match="the fingerprint of 'small'"):
        merge.merged([folders / "a", tmp_path / "data"])
    changed = edited(folders, tmp_path, "a")
    lines = [json.loads(line) for line in (changed / "metrics.jsonl").read_text().splitlines()]
    lines[1]["accuracy"] += 0.1
    (changed / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match="both hold small, random, seed 0, but not the same"):
        merge.merged([folders / "a", changed])


def test_folders_that_hold_no_results(folders, tmp_path):
    with pytest.raises(ValueError, match=r"no finished results \(config.json is missing\)"):
        merge.read(tmp_path)
    with pytest.raises(ValueError, match="no finished results"):
        merge.read(tmp_path / "nowhere")
    broken = edited(folders, tmp_path, "a")
    whole = (broken / "metrics.jsonl").read_text()
    for content in (
        "",
        "{",
        "[]\n",
        '{"dataset": "d"}\n',
        whole.replace('"margin"', "3"),
        whole[: whole.index("\n") + 1],
    ):
        (broken / "metrics.jsonl").write_text(content)
        with pytest.raises(ValueError, match="damaged"):
            merge.read(broken)
    (broken / "config.json").write_text('{"rounds": "2"}')
    with pytest.raises(ValueError, match="damaged"):
        merge.read(broken)
