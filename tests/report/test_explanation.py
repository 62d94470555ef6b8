"""The page that explains a document: whatever its text holds it is shown as text, whole, and no script may run."""

import re
from html.parser import HTMLParser

import pytest
from markupsafe import escape

from attention_influence import Scorer
from attention_influence.report.explanation import in_context, pieces_in, write_explanation
from attention_influence.report.visible import visible
from attention_influence.scoring.explain import Explanation, explain
from scoring.tiny import HEADS, tiny

HOSTILE = (
    "</pre></details></main><script>window.hostile = 1</script><img src=x onerror='window.hostile = 2'>"
    "<style>* { display: none }</style>\u202e\u2066\0\x1b]0;\x07 & 茶 Réné"
)


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    """Of several windows."""
    return explain(Scorer(tiny().model, HEADS), HOSTILE * 3, most=4)


@pytest.fixture(scope="module")
def page(explanation: Explanation, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "page.html"
    write_explanation(str(out), explanation, {"document": HOSTILE, "tokens": "9"}, [f"warned {HOSTILE}"])
    return out.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Names of elements and of attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attributes}


def test_no_script_is_allowed_and_nothing_of_the_text_became_an_element(page: str) -> None:
    assert "script-src 'none'" in page
    assert "default-src 'none'" in page
    elements = Elements(page)
    assert not elements.names & {"script", "img", "base", "link", "svg"}
    assert not {name for name in elements.attributes if name.startswith("on") or name in ("src", "action")}
    assert page.count("<style>") == 1


def test_the_whole_text_is_there_escaped_in_its_windows(page: str, explanation: Explanation) -> None:
    shown = [re.sub(r"</?i[^>]*>", "", part) for part in re.findall(r"<pre[^>]*>\n(.*?)</pre>", page, re.DOTALL)]
    assert len(shown) == len(explanation.windows) > 1
    assert "".join(shown) == str(escape(visible(HOSTILE * 3)))


def test_tokens_heads_and_windows_have_their_numbers(page: str, explanation: Explanation) -> None:
    assert f"<b>{explanation.score.influence:.4f}</b>".replace("-", "−") in page
    for raised in explanation.raised:
        assert f"+{explanation.tokens[raised.position].rise:.2f}</b>" in page
    for head in explanation.heads:
        row = rf"layer {head.layer} head {head.head}</th><td>{f'{head.rise:.4f}'.replace('-', '−')}</td>"
        assert row in page
    assert page.count('<details class="raised"') == len(explanation.raised) == 4
    for window in explanation.windows:
        assert f"<td>{window.first} to {window.end - 1}</td>" in page


def test_the_rises_of_a_windows_pieces_are_those_of_its_tokens(explanation: Explanation) -> None:
    for window in explanation.windows:
        pieces = pieces_in(explanation, window)
        assert "".join(text for text, _ in pieces) == explanation.text[window.start : window.stop]
        tokens = explanation.tokens[window.first : window.end]
        # A character cut between two windows belongs to the first one.
        inside = [token for token in tokens if token.stop > window.start]
        assert sum(rise for _, rise in pieces) == pytest.approx(sum(token.rise or 0 for token in inside), abs=1e-6)


def test_a_token_stands_in_its_context_on_one_line(explanation: Explanation) -> None:
    for token in explanation.tokens:
        context = in_context(explanation, token.position, 10)
        assert context.token == visible(explanation.characters(token.position)).replace(" ", "␣")
        assert "\n" not in f"{context.before}{context.token}{context.after}"
