"""The report: whole in itself, the same for the same records, safe against names, and as plain about losses as wins."""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from records import make_records

from autoal.experiment.report import report
from autoal.experiment.summary import summary_of

VOID = {"meta", "img"}
EVIL = "<script>alert('$x$')</script>&\"_"


def records(strategies, datasets=("d",), seeds=range(8)):
    """Each strategy is 5 points below the one before."""
    return make_records(strategies, datasets, seeds, 3, lambda position, noise: 0.8 - 0.05 * position + 0.01 * noise)


def config(strategies, datasets=("d",)):
    return {
        "autoal": "1.2.3",
        "torch": "2.0",
        "cpu": "avx2",
        "cores": 2,
        "datasets": {
            d: {"pool": 30, "test": 10, "classes": 3, "features": "raw", "source": f"{d}.npz"} for d in datasets
        },
        "strategies": strategies,
        "seeds": list(range(8)),
        **{"initial_size": "C", "query_size": 10, "rounds": 2, "model": "linear", "device": "cpu"},
        "conditions": [""],
        "measured": [{"jobs": 2, "threads": 1}],
    }


def page_of(strategies, datasets=("d",), reference=None, **changes):
    rows = records(strategies, datasets, **changes)
    return report(rows, summary_of(rows, reference), config(strategies, datasets))


class Reader(HTMLParser):
    """Tags in the order in which they open, checked to close; texts; addresses."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.texts, self.addresses = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def rows_of(page, heading):
    """The texts of the table rows in the section with that heading."""
    section = next(part for part in page.split("<section>") if part.startswith(f"<h2>{heading}"))
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr.*?</tr>", section)]
    return {row[0]: row[1:] for row in cells}


def test_it_is_one_file_that_asks_for_nothing_else():
    page = page_of(["autoal", "margin", "boss"])
    read = Reader(page)
    assert read.addresses and all(address.startswith("data:image/svg+xml;base64,") for address in read.addresses)
    assert "@import" not in page and "url(" not in page and "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert read.tags.count("script") == 1 and 'name="viewport"' in page
    for address in read.addresses:
        svg = base64.b64decode(address.partition(",")[2]).decode()
        assert ElementTree.fromstring(svg).tag.endswith("svg") and len(svg) < 300_000
        assert not re.search(r'(?:href|src)="(?!#)', svg)


def test_the_same_records_give_the_same_page():
    assert page_of(["autoal", "margin"]) == page_of(["autoal", "margin"])


def test_names_are_text_and_nothing_else():
    page = page_of(["autoal", EVIL], datasets=(EVIL, "_d$"))
    read = Reader(page)
    assert read.tags.count("script") == 1 and page.count("alert") > 3
    assert EVIL in read.texts and any(EVIL in text for text in read.texts if text != EVIL)


def test_the_headline_is_that_of_the_summary():
    strategies = ["random", "autoal", "margin"]
    rows = rows_of(page_of(strategies), "All strategies")
    summary = summary_of(records(strategies))
    assert list(rows) == ["strategy", *strategies], "best first"
    against = summary["comparisons"]["margin"]
    assert against["p_holm"] == pytest.approx(2 * 2 / 256) and against["wins"] == 8
    assert (
        rows["margin"][0]
        == f"{100 * summary['aulc']['margin']['mean']:.2f} ± {100 * summary['aulc']['margin']['sem']:.2f}"
    )
    assert rows["margin"][2] == "3.00" and rows["margin"][4:7] == ["8 / 0 / 0", "100", "0.016"]
    assert rows["random"][4:7] == ["0 / 0 / 8", "0", "0.016"], "a loss is told as a win is"
    assert rows["autoal"][3:7] == ["-", "-", "-", "-"]
    assert rows_of(page_of(strategies), "Win rates")["random"] == ["-", "100", "100"]


def test_losses_are_told_in_words():
    text = " ".join(Reader(page_of(["random", "autoal", "margin"])).texts)
    for words in (
        "Better than: margin.",
        "Worse than: random.",
        "Not told apart from: none.",
        "Lost 8 of 16 paired runs",
    ):
        assert words in text
    assert re.search(r"Its mean is below that of: random \(-\d\.\d\d ± 0\.\d\d points on d\)", text)
    assert "no corrected p-value could" not in text, "2 * 2 / 2^8 is small enough"
    six = " ".join(Reader(page_of(["autoal", "margin", "random"], seeds=range(6))).texts)
    assert "6 pairs, 2 comparisons: no corrected p-value could be below 0.05; more seeds are needed." in six
    few = " ".join(Reader(page_of(["autoal", "margin"], seeds=range(5))).texts)
    assert (
        "Not told apart from: margin" in few
        and "fewer than 6 pairs differ, for none could be below 0.05: margin (5)." in few
    )


def test_an_oracle_is_a_measure_and_no_competitor():
    page = page_of(["boss", "autoal", "random"])
    rows = rows_of(page, "Regret to boss")
    assert list(rows) == ["strategy", "autoal", "random"] and rows["autoal"][0].startswith("+")
    assert rows_of(page, "All strategies")["boss"][3:7] == ["-", "-", "-", "-"]
    assert "knows the true labels" in page and "Regret" not in page_of(["autoal", "random"])


def test_settings_versions_and_how_it_was_measured():
    page = page_of(["margin", "random"])
    for words in (
        "autoal 1.2.3",
        "2 runs at a time of 1 thread each",
        "avx2, 2 cores",
        "8 (0 to 7)",
        "C first, then 2 rounds of 10",
        "d.npz",
    ):
        assert words in page
    assert "What automated strategies trusted" not in page
    assert "What automated strategies trusted" in page_of(["autoal", "random"])


def test_one_strategy_alone():
    assert "Nothing to test" in page_of(["margin"]) and "Nothing to test" in page_of(["boss"], seeds=[0])
