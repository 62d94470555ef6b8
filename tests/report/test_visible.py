"""What cannot be seen is written out; what can stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.report.visible import TEXT_LIMIT, cut, label, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\0b", "a␀b"),
        ("\x1b[31m", "␛[31m"),
        ("a\x7f\x85", "a␡⟨U+0085⟩"),
        ("user\u202egpj.exe", "user⟨U+202E⟩gpj.exe"),
        ("\u2066x\u2069\u200b\ufeff", "⟨U+2066⟩x⟨U+2069⟩⟨U+200B⟩⟨U+FEFF⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("one\r\ntwo\rthree", "one\ntwo␍three"),
        ("tab\tline\nमक्‍का שלום 👩‍💻", "tab\tline\nमक्‍का שלום 👩‍💻"),
    ],
)
def test_hidden_characters_are_written_out_and_scripts_stay(text, shown):
    assert visible(text) == shown


@given(st.text(st.characters(), max_size=50))
def test_shown_text_can_be_encoded_and_shows_the_same_again(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert visible(shown) == shown


def test_long_text_is_cut_and_says_so():
    shown = cut("x" * 1_000_000)
    assert shown == "x" * TEXT_LIMIT + " … [1,500 of 1,000,000 characters shown]"
    assert cut("x" * TEXT_LIMIT) == "x" * TEXT_LIMIT


def test_a_label_is_one_short_line():
    assert label("a\nb\tc") == "a↵b⇥c"
    assert len(label("x" * 5000)) == 201
