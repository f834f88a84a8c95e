"""Text to work on: the Python reference, questions on it, a Korean corpus, and real data sets by name."""

from minillm.data.documents import Document, Passage, Question
from minillm.data.held_out import overlap, paragraphs_once, repeated_share, train_and_held_out
from minillm.data.passages import Section, split_passages, split_sections
from minillm.data.python_questions import python_questions, read_questions
from minillm.data.python_reference import python_docs, standard_library_docs
from minillm.data.text_files import read_documents

__all__ = [
    "Document",
    "Passage",
    "Question",
    "Section",
    "overlap",
    "paragraphs_once",
    "python_docs",
    "python_questions",
    "read_documents",
    "read_questions",
    "repeated_share",
    "split_passages",
    "split_sections",
    "standard_library_docs",
    "train_and_held_out",
]
