"""Pictures: the same bytes each time, no tie to the outside, legible on any background, described in words."""

from xml.etree import ElementTree

import pytest

from attention_influence.errors import UsageError
from attention_influence.report.figures.plots import heatmap_svg, histogram_svg, save_heatmap

SCORES = [[0.1, 0.9, 0.0], [None, None, None], [0.5, None]]


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))


def test_the_same_scores_give_the_same_picture():
    assert heatmap_svg(SCORES, [(0, 1)]) == heatmap_svg(SCORES, [(0, 1)])
    assert heatmap_svg(SCORES, [(0, 1)]) != heatmap_svg(SCORES, [(0, 2)])


def test_a_picture_is_described_in_words_and_takes_the_colour_of_the_text_around_it():
    root = parsed(heatmap_svg(SCORES, [(0, 1)]))
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Retrieval score of 4 heads in 3 layers, the highest 0.900; 1 chosen"
    styles = [node.get("style", "") for node in root.iter("text")]
    assert styles
    assert all("fill: currentColor" in style for style in styles)


def test_an_inline_picture_names_no_address_and_brings_no_style_sheet():
    svg = heatmap_svg(SCORES, []) + histogram_svg([0, 1, 2], [3, 4], 0.5, "x")
    assert "http" not in svg
    assert "<style" not in svg


def test_two_pictures_of_one_page_share_no_id():
    one = parsed(histogram_svg([0, 1, 2], [3, 4], 0.5, "one"))
    two = parsed(histogram_svg([0, 1, 2], [3, 4], 0.5, "two"))
    ids = [{node.get("id") for node in root.iter() if node.get("id")} for root in (one, two)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])


def test_the_description_of_a_histogram_is_escaped():
    described = '"><script>alert(1)</script>'
    assert parsed(histogram_svg([0, 1], [1], None, described)).get("aria-label") == described


def test_the_threshold_is_written_beside_its_line():
    texts = [node.text for node in parsed(histogram_svg([0, 1, 2], [3, 4], 0.51234, "x")).iter("text")]
    assert "threshold 0.5123" in texts
    assert "threshold" not in " ".join(node.text for node in parsed(histogram_svg([0, 1], [3], None, "x")).iter("text"))


def test_scores_all_zero_or_missing_can_be_drawn():
    assert "<svg" in heatmap_svg([[0.0, 0.0]], [(0, 0)])
    assert "of 0 heads" in heatmap_svg([[None, None]], [])


@pytest.mark.parametrize(("name", "magic"), [("h.png", b"\x89PNG"), ("h.svg", b"<?xml")])
def test_a_heatmap_is_saved_by_its_ending_and_is_the_same_each_time(tmp_path, name, magic):
    contents = []
    for _ in range(2):
        save_heatmap(SCORES, [(0, 1)], tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0].startswith(magic)
    assert contents[0] == contents[1]


def test_other_endings_and_no_scores_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"heads\.jpg.*\.png or \.svg"):
        save_heatmap(SCORES, [], tmp_path / "heads.jpg")
    with pytest.raises(UsageError, match="no head scores"):
        heatmap_svg([], [])
