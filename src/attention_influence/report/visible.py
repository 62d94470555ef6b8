"""Text as it may be shown: what is invisible or reorders its surroundings is made visible, and long text is cut."""

import re

TEXT_LIMIT = 1500
LABEL_LIMIT = 200

# Controls but tab and line feed; bidirectional marks, embeddings, overrides and isolates; zero-width spaces and
# joiners of words; lone surrogates; noncharacters; tags. Joiners that scripts need (U+200C, U+200D) stay.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """`text` with every hidden character written out: ␀ for a C0 control, ⟨U+202E⟩ for the others."""
    return _HIDDEN.sub(_written_out, text.replace("\r\n", "\n"))


def cut(text: str, limit: int = TEXT_LIMIT) -> str:
    """At most `limit` characters of `text`, made visible, with "…" and the whole length said when it was cut."""
    if len(text) <= limit:
        return visible(text)
    return f"{visible(text[:limit])} … [{limit:,} of {len(text):,} characters shown]"


def label(text: str) -> str:
    """A name on one line: `text` cut at 200 characters, its line breaks and tabs written out too."""
    shown = visible(text[:LABEL_LIMIT]).replace("\n", "↵").replace("\t", "⇥")
    return shown if len(text) <= LABEL_LIMIT else shown + "…"


def _written_out(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
