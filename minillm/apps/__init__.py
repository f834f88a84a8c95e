"""Whole applications on top of the stack: questions to a database (text2sql/), answers from documents (rag/)."""
