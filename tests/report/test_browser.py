"""The page in a real browser, from disk: nothing is executed or fetched but its own, and everyone can use it."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from attention_influence import Scorer
from attention_influence.report.explanation import write_explanation
from attention_influence.report.page import Inputs, write_report
from attention_influence.scoring.explain import explain
from scoring.tiny import HEADS, tiny

from .given_files import STABILITY, VALIDITY, judged_record, ranked_by, trained_record
from .stores import scored, unscored, write_store

pytestmark = pytest.mark.slow

CHROMIUM = "/usr/bin/chromium"

HOSTILE = (
    "</script><script>window.hostile = 1</script></pre></article></main><img src=x onerror='window.hostile = 2'>"
    "<style>* { display: none !important }</style><svg onload='window.hostile = 3'><!-- \u202e\u2066\0\x1b]0;\x07"
    "<base href='http://evil.example/'><meta http-equiv=refresh content='0; url=http://evil.example/'>"
    + "x"
    * 1_000_000
)
# A word that only two documents hold.
RARE = "quetzalcoatl"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not shutil.which(CHROMIUM):
        assert os.environ.get("CI") != "true", f"{CHROMIUM} is missing; .ci/run installs it"
        pytest.skip(f"needs Debian's chromium at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains, hostile names and texts, all sections."""
    folder = tmp_path_factory.mktemp("browser")
    names = ["calm", "hostile <b>" + HOSTILE[:150]]
    rows = [
        scored(row, row / 100, names[row % 2], n_tokens=50 + row, copy_share=row % 7 / 10, unigram_surprisal=7.0)
        for row in range(60)
    ]
    rows[0]["id"] = rows[0]["flag"] = HOSTILE
    store = write_store(folder / "store", [*rows, unscored(60, HOSTILE)], name=HOSTILE)
    cuts = [{"domain": name, "threshold": 0.5, "chosen": 5, "tokens_chosen": 500} for name in names]
    (folder / "selection.json").write_text(json.dumps({"thresholds": cuts, "warnings": [HOSTILE]}))
    scores = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.2, 0.6], [0.9, 0.8, 0.1, 0.2]]
    heads = {
        "heads": [list(head) for head in HEADS],
        "method": "retrieval score",
        "scores": scores,
        "probe_accuracy": 0.9,
    }
    judge = judged_record(HOSTILE, domains=2)
    judge["judge"] = {"kind": "endpoint", "model": HOSTILE, "endpoint": HOSTILE}
    trained = trained_record((f"a$x{HOSTILE}", HOSTILE, "selected")) | {"plan": ranked_by({}), "notes": [HOSTILE]}
    records = {"heads": heads, "stability": STABILITY, "validity": VALIDITY, "judge": judge, "experiment": trained}
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(record))

    def text_of(source: str, row: int) -> str:
        return (
            HOSTILE if row % 20 == 0 else f"Plain text of document {row}. {RARE if row in (1, 58) else 'words'} again"
        )

    def embed(texts: Sequence[str]) -> np.ndarray:
        angles = np.array([len(text) + i % 9 for i, text in enumerate(texts)])
        return np.stack([np.cos(angles), np.sin(angles), angles * 0], 1).astype(np.float32)

    given = {name: folder / f"{name}.json" for name in ("selection", *records)}
    inputs = Inputs(**given, scorer=Scorer(tiny().model, HEADS), embed=embed, text_of=text_of)
    page = folder / "report.html"
    write_report(page, store, inputs)
    return page


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The page on a desktop; what it asked for and complained of is in `page.asked` and `page.said`."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()


def shown(page: Page) -> int:
    return page.locator("#reading article:visible").count()


def test_a_hostile_corpus_executes_nothing_fetches_nothing_and_breaks_no_layout(page: Page, report: Path) -> None:
    assert page.asked == [report.as_uri()]
    assert page.said == []
    assert page.evaluate("window.hostile") is None
    assert page.locator("main > section").evaluate_all("all => all.map(one => one.id)") == [
        *("summary", "heads", "score", "reading", "diversity", "words", "judge", "training", "provenance")
    ]
    assert page.locator("script").count() == 1
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_search_and_filters_leave_the_documents_that_match(page: Page) -> None:
    everything = page.locator("#reading article").count()
    assert 1 <= shown(page) < everything, "the first domain is open, the others are not"
    page.get_by_label("Search").fill(RARE.upper())
    assert 1 <= shown(page) < everything
    assert all(RARE in text for text in page.locator("#reading article:visible pre").all_inner_texts())
    assert page.locator("output").inner_text() == f"{shown(page)} of {everything} documents"
    page.get_by_label("Search").fill("no such words anywhere")
    assert shown(page) == 0
    assert page.get_by_text("No document on this page matches.").is_visible()
    page.get_by_label("Search").fill("")
    assert shown(page) == everything, "what was opened stays open"
    page.get_by_role("combobox", name="Domain").select_option("1")
    of_one = shown(page)
    assert 1 <= of_one < everything
    assert page.locator("#reading .domain:visible").count() == 1
    page.get_by_role("combobox", name="Which").select_option("lowest")
    assert shown(page) == 5 < of_one
    assert page.locator("#reading h4:visible").all_inner_texts() == ["Lowest influence"]


def test_without_script_every_document_is_there_and_no_dead_control(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert not page.locator("form.filter").is_visible()
    for closed in page.locator("#reading .domain summary").all()[1:]:
        closed.click()
    assert shown(page) == page.locator("#reading article").count() > 10
    context.close()


def test_what_is_folded_on_a_screen_is_printed(page: Page) -> None:
    page.emulate_media(media="print")
    seen = page.locator("details article, details table").evaluate_all("all => all.map(one => one.checkVisibility())")
    assert len(seen) > 10
    assert all(seen)


def test_axe_finds_no_fault_on_a_light_page_and_no_faint_text_on_a_dark_one(page: Page) -> None:
    # One document of each list is like the others, and thousands of tokens take axe half a minute.
    page.evaluate("document.querySelectorAll('article:nth-of-type(n+2)').forEach((one) => one.remove())")
    found = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    found += Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in found] == []


def test_the_page_of_an_explanation_runs_nothing_fits_a_phone_and_has_no_fault(
    browser: Browser, tmp_path: Path
) -> None:
    explanation = explain(Scorer(tiny().model, HEADS), HOSTILE[:400], most=3)
    out = tmp_path / "explanation.html"
    write_explanation(str(out), explanation, {"document": HOSTILE[:400]}, [HOSTILE[:400]])
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(out.as_uri())
    assert (asked, said, page.evaluate("window.hostile")) == ([out.as_uri()], [], None)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    page.emulate_media(color_scheme="dark")
    found += Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"][:200]) for fault in found] == []
    page.close()
