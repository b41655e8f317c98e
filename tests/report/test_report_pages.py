import base64
import html.parser
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from operando.core.errors import InputError
from operando.report import FigureItem, MovieItem, Section, TableItem, TextItem, page, style, write_page

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)>"\'</pre></style>'


class _Parsed(html.parser.HTMLParser):
    """Tags with their attributes, and the text of every element."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def full() -> str:
    frames = [np.full((20, 30, 3), value, dtype=np.uint8) for value in (0, 90, 200)]
    table = pd.DataFrame({"component": ["pit", "a,b"], "value": [-1234.5678, 2e-9], "unit": ["um3", "1"]})
    items = [
        FigureItem(style.new_figure(85, 40), "A figure."),
        FigureItem(frames[1], "Pixels.", alt="gray"),
        MovieItem(frames, "A movie.", seconds_per_frame=0.25),
        TableItem(table, "A table.", name="ledger", collapsed=True),
        TextItem("One paragraph.\n\nAnother one."),
    ]
    return page(
        "A cell",
        [Section("Results", "See https://doi.org/10.1000/xyz.", items), Section("Results")],
        subtitle="3 scans",
        facts={"Plated": "2 µm³"},
        flags=["Interval 1 disagrees."],
        methods=["Counted."],
        citations=["A paper, https://doi.org/10.1000/abc."],
        parameters={"segment": {"steps": 4}},
        provenance={"operando": "0.1.0"},
        simulated=True,
    )


def test_nothing_on_the_page_is_fetched_from_elsewhere(full):
    parsed = _Parsed(full)
    for tag, attrs in parsed.tags:
        for name in ("src", "srcset", "poster", "data", "action", "background"):
            assert attrs.get(name, "data:").startswith("data:"), (tag, attrs)
        if tag == "a":
            assert attrs["href"].startswith(("#", "https://doi.org/"))
        else:
            assert "href" not in attrs
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in parsed.tags}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", full)


def test_the_page_forbids_itself_to_fetch_anything(full):
    (policy,) = [m["content"] for m in _Parsed(full).named("meta") if "content" in m and "default-src" in m["content"]]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_hostile_names_are_text_everywhere():
    frames = [np.zeros((4, 4, 3), dtype=np.uint8)]
    items = [
        FigureItem(frames[0], HOSTILE, alt=HOSTILE),
        MovieItem(frames, HOSTILE),
        TableItem(pd.DataFrame({HOSTILE: [HOSTILE]}), HOSTILE, name=HOSTILE),
        TextItem(HOSTILE),
    ]
    text = page(
        HOSTILE, [Section(HOSTILE, HOSTILE, items)], subtitle=HOSTILE, facts={HOSTILE: HOSTILE}, flags=[HOSTILE],
        methods=[HOSTILE], citations=[HOSTILE], parameters={HOSTILE: HOSTILE}, provenance={HOSTILE: HOSTILE},
    )  # fmt: skip
    parsed = _Parsed(text)
    assert len(parsed.named("script")) == 2
    assert not any("onerror" in attrs for _, attrs in parsed.tags)
    assert HOSTILE not in text
    assert "&lt;script&gt;alert" in text


def test_an_address_becomes_a_link_without_the_full_stop_behind_it(full):
    assert {"https://doi.org/10.1000/xyz", "https://doi.org/10.1000/abc"} <= {
        a["href"] for a in _Parsed(full).named("a")
    }
    other = _Parsed(page("x", [Section("y", items=[TextItem("javascript:alert(1) http://a.b")])]))
    assert [a["href"] for a in other.named("a")] == ["#y"]


def test_pictures_are_inlined_and_open(full):
    addresses = [img["src"] for img in _Parsed(full).named("img")]
    assert len(addresses) == 3
    for address in addresses:
        with Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))) as picture:
            picture.verify()


def test_a_movie_holds_every_frame(full):
    (frames,) = re.findall(r'<script type="application/json">(.*?)</script>', full)
    assert frames.count("data:image/jpeg;base64,") == 3
    assert 'data-milliseconds="250"' in full


def test_every_section_is_in_the_contents_under_an_anchor_of_its_own(full):
    parsed = _Parsed(full)
    anchors = [section["id"] for section in parsed.named("section")]
    links = [a["href"][1:] for a in parsed.named("a") if a["href"].startswith("#")]
    assert anchors == links == ["results", "results-2", "methods", "parameters", "provenance"]


def test_the_download_holds_the_whole_table_as_csv(full):
    texts = _Parsed(full).texts
    (csv,) = [text for text in texts if text.startswith("component,value,unit")]
    again = pd.read_csv(io.StringIO(csv))
    assert again["component"].tolist() == ["pit", "a,b"]
    assert again["value"].tolist() == [-1234.5678, 2e-9]


def test_a_table_shows_numbers_and_units_for_people(full):
    for text in ("−1\N{NARROW NO-BREAK SPACE}235", "2e−09", "µm³"):
        assert text in full


def test_a_long_table_says_how_much_of_it_is_shown():
    table = pd.DataFrame({"n": range(50)})
    text = page("x", [Section("y", items=[TableItem(table, "Rows.", rows=10)])])
    assert "The first 10 of 50 rows" in text
    assert text.count("<tr><td") == 10


def test_flags_are_shown_and_their_absence_is_stated_only_where_checks_were_made(full):
    assert "Interval 1 disagrees." in full
    assert "Nothing was flagged" in page("x", [], flags=[])
    assert "flagged" not in page("x", [])


def test_every_parameter_and_version_is_on_the_page(full):
    texts = _Parsed(full).texts
    assert texts[texts.index("segment.steps") + 1] == "4"
    assert "0.1.0" in texts


def test_a_page_of_simulated_data_says_so(full):
    assert "simulated data" in full
    assert "simulated data" not in page("x", [])


@pytest.mark.parametrize("wrong", [b"GARBAGE", "report.png", np.zeros((4, 4))])
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(InputError, match=r"^page: .* got "):
        page("x", [Section("y", items=[FigureItem(wrong, "c")])])


def test_an_unknown_item_and_an_empty_movie_are_refused():
    with pytest.raises(InputError, match="got str. Wrap it"):
        page("x", [Section("y", items=["text"])])
    with pytest.raises(InputError, match="at least one frame"):
        page("x", [Section("y", items=[MovieItem([], "c")])])


def test_a_page_that_fails_leaves_the_old_one_as_it_was(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, "First", [])
    with pytest.raises(InputError):
        write_page(path, "Second", [Section("y", items=["text"])])
    assert "<title>First</title>" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
