"""A step of a datatrove pipeline that keeps what a student predicts to be high. No torch."""

import functools
import os
from typing import TYPE_CHECKING, Any

from attention_influence.screening.student import Student, load_student

try:
    from datatrove.pipeline.filters.base_filter import BaseFilter
except ImportError as error:
    raise ImportError(f"This step needs datatrove ({error}): pip install 'attention-influence[datatrove]'") from error

if TYPE_CHECKING:
    from datatrove.data import Document


class StudentFilter(BaseFilter):  # type: ignore[misc]
    """Keeps documents whose influence, as a student predicts it, is at least `threshold`; drops the others.

    `student`: the file that `distill` wrote, read once a process. The prediction is put into each document's metadata
    as `predicted_influence`, so that a threshold of −1, which all pass, only annotates.
    """

    name = "Predicted influence"

    def __init__(self, student: str | os.PathLike[str], threshold: float, exclusion_writer: Any = None) -> None:
        super().__init__(exclusion_writer)
        self.student = os.fspath(student)
        self.threshold = float(threshold)

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        predicted = float(_student(self.student).predict([doc.text])[0])
        doc.metadata["predicted_influence"] = predicted
        return predicted >= self.threshold or (False, "below_threshold")


@functools.lru_cache(maxsize=1)
def _student(path: str) -> Student:
    return load_student(path)
