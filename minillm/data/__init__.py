"""Text to work on: the Python reference, questions on it, a Korean corpus, and real data sets by name."""

from minillm.data.agent_checks import AgentCheck, agent_checks
from minillm.data.attack_prompts import AttackPrompt, attack_prompts
from minillm.data.capital_cities import capital_analogies, capital_pairs, capital_sentences
from minillm.data.characters import Characters
from minillm.data.conversations import instruction_rows, preference_rows, read_instructions, read_preferences
from minillm.data.dataset import Dataset, concatenate_datasets
from minillm.data.dataset_dict import DatasetDict
from minillm.data.datasets import DatasetInfo, cache_folder, dataset_info, dataset_names, load_dataset
from minillm.data.disguises import DISGUISES
from minillm.data.documents import Document, Passage, Question
from minillm.data.downloads import DownloadError
from minillm.data.emoji import Emoji, emoji_pictures
from minillm.data.facts import Fact, contains_answer, fact_documents, facts
from minillm.data.headlines import TOPICS, headline_events, korean_headlines
from minillm.data.held_out import overlap, paragraphs_once, repeated_share, train_and_held_out
from minillm.data.judge_pairs import judge_pairs
from minillm.data.korean import korean_documents, korean_english_pairs, korean_questions
from minillm.data.korean_events import korean_events
from minillm.data.paraphrases import paraphrase_pairs
from minillm.data.particles import with_particle
from minillm.data.passages import Section, split_passages, split_sections
from minillm.data.personal_texts import PersonalText, personal_texts
from minillm.data.picture_instructions import ask_about, converse, describe_scene, reason_about, scene_symbols
from minillm.data.program_styles import (
    STYLES,
    Style,
    label_ceiling,
    preference_pairs,
    program_rows,
    program_texts,
    write_program,
    written_pairs,
)
from minillm.data.proof import HeldOut, prove_held_out
from minillm.data.python_questions import python_questions, read_questions
from minillm.data.python_reference import python_docs, standard_library_docs
from minillm.data.rag_answers import RagAnswer, rag_answers
from minillm.data.real_models import REAL_MODELS, available, fetch
from minillm.data.scenes import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    SIZES,
    SceneObject,
    Scenes,
    held_out_pairs,
    scenes,
    shapes,
)
from minillm.data.scenes_questions import SceneQuestion, balanced
from minillm.data.scenes_reader import ReadScene, read_scene, read_scenes
from minillm.data.scenes_texts import KOREAN, caption, hard_negatives, swapped_captions
from minillm.data.sequence_tasks import SILENT, induction, recall, selective_copy
from minillm.data.small_programs import Outcome, ProgramTask, run_answer, shared_shapes, small_tasks
from minillm.data.sql_prompts import small_prompt, spaced, sql_in, sql_prompt, unspaced
from minillm.data.sql_questions import SQLTask, shared_forms, sql_tasks
from minillm.data.text_files import read_documents
from minillm.data.tool_injections import Injection, tool_injections
from minillm.data.tool_tasks import ToolTask, fresh_tool_tasks, shared_task_shapes, tool_dialogues, tool_tasks
from minillm.data.toy_translation import SPELLINGS, date_pairs, word_pairs
from minillm.data.unanswerable import DECLINING, unanswerable_questions

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "DECLINING",
    "DISGUISES",
    "KOREAN",
    "REAL_MODELS",
    "SHAPES",
    "SILENT",
    "SIZES",
    "SPELLINGS",
    "STYLES",
    "TOPICS",
    "AgentCheck",
    "AttackPrompt",
    "Characters",
    "Dataset",
    "DatasetDict",
    "DatasetInfo",
    "Document",
    "DownloadError",
    "Emoji",
    "Fact",
    "HeldOut",
    "Injection",
    "Outcome",
    "Passage",
    "PersonalText",
    "ProgramTask",
    "Question",
    "RagAnswer",
    "ReadScene",
    "SQLTask",
    "SceneObject",
    "SceneQuestion",
    "Scenes",
    "Section",
    "Style",
    "ToolTask",
    "agent_checks",
    "ask_about",
    "attack_prompts",
    "available",
    "balanced",
    "cache_folder",
    "capital_analogies",
    "capital_pairs",
    "capital_sentences",
    "caption",
    "concatenate_datasets",
    "contains_answer",
    "converse",
    "dataset_info",
    "dataset_names",
    "date_pairs",
    "describe_scene",
    "emoji_pictures",
    "fact_documents",
    "facts",
    "fetch",
    "fresh_tool_tasks",
    "hard_negatives",
    "headline_events",
    "held_out_pairs",
    "induction",
    "instruction_rows",
    "judge_pairs",
    "korean_documents",
    "korean_english_pairs",
    "korean_events",
    "korean_headlines",
    "korean_questions",
    "label_ceiling",
    "load_dataset",
    "overlap",
    "paragraphs_once",
    "paraphrase_pairs",
    "personal_texts",
    "preference_pairs",
    "preference_rows",
    "program_rows",
    "program_texts",
    "prove_held_out",
    "python_docs",
    "python_questions",
    "rag_answers",
    "read_documents",
    "read_instructions",
    "read_preferences",
    "read_questions",
    "read_scene",
    "read_scenes",
    "reason_about",
    "recall",
    "repeated_share",
    "run_answer",
    "scene_symbols",
    "scenes",
    "selective_copy",
    "shapes",
    "shared_forms",
    "shared_shapes",
    "shared_task_shapes",
    "small_prompt",
    "small_tasks",
    "spaced",
    "split_passages",
    "split_sections",
    "sql_in",
    "sql_prompt",
    "sql_tasks",
    "standard_library_docs",
    "swapped_captions",
    "tool_dialogues",
    "tool_injections",
    "tool_tasks",
    "train_and_held_out",
    "unanswerable_questions",
    "unspaced",
    "with_particle",
    "word_pairs",
    "write_program",
    "written_pairs",
]
