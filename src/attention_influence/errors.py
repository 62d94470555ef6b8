"""The exceptions that users meet: each message says what happened, where, and what to do next."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str], otherwise: str) -> str:
    """For the end of a message about an unknown name: the closest known name, if one is close."""
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else otherwise


class AttentionInfluenceError(Exception):
    """Anything that this library refuses or could not finish; `exit_code` is the command line's."""

    exit_code = 1


class UsageError(AttentionInfluenceError):
    """An option, a configuration key or an argument is wrong."""

    exit_code = 2


class TextsError(UsageError, TypeError):
    """What was given for several texts is something else, such as a single text."""


class TooManyBadRows(AttentionInfluenceError):
    """More rows than allowed could not be scored."""

    exit_code = 3


class Interrupted(AttentionInfluenceError):
    """Ctrl-C or SIGTERM stopped a run; finished units are kept."""

    exit_code = 130


class CorpusError(AttentionInfluenceError):
    """An input is missing, unreadable or not what its name says."""


class CorruptFile(CorpusError):
    """One input file breaks off or cannot be decoded; the other files are unaffected."""


class NoDocuments(CorruptFile):
    """An input holds no documents: a pointer, a page, an array, or another format under a name that can be read."""

    exit_code = 3


class ModelError(AttentionInfluenceError):
    """The model cannot be loaded, or cannot be scored exactly."""


class HeadsError(AttentionInfluenceError):
    """A head set is malformed or belongs to another model."""


class ProbeError(AttentionInfluenceError):
    """The retrieval task cannot be built from what was given."""


class StoreError(AttentionInfluenceError):
    """A score store is missing, incomplete or made by something else."""


class StorageError(StoreError):
    """A disk or an object store refused: no room, no right, or it failed for longer than was waited."""


class JudgeError(AttentionInfluenceError):
    """A judge can no longer be asked: its endpoint is down, or refuses every request."""
