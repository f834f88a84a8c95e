"""Records what transformers' question-answering pipeline says on our tiny folders. It was last in version 4:

pip install --target OLD --no-deps "transformers==4.57.3" "huggingface_hub<1" "tokenizers==0.22.1"
PYTHONPATH=OLD:. python -m tests.parity.record_question_answering
"""

import json
import tempfile
from pathlib import Path

from tests.parity.pipeline_folders import TEXTS, write

SEEDS = {"Bert": 1, "Roberta": 2}
LONG = " ".join(TEXTS * 3)
CONTEXTS = [
    ("대한민국의 수도는 어디인가?", TEXTS[0]),
    ("누가 서점을 열었나?", " ".join(TEXTS[:4])),
    ("Who opened a bookshop?", TEXTS[5]),
    ("What did the company say?", " ".join(TEXTS[4:])),
    ("공장은 언제 문을 여는가?", LONG),
    ("Who won?", LONG),
]
CALLS = [
    {},
    {"top_k": 3},
    {"max_answer_len": 3},
    {"max_answer_len": 40, "top_k": 2},
    {"handle_impossible_answer": True, "top_k": 4},
    {"align_to_words": False, "top_k": 2},
    {"max_seq_len": 60, "doc_stride": 6},
    {"max_seq_len": 64, "doc_stride": 16, "handle_impossible_answer": True, "top_k": 2},
]


def record():
    """{family: for each call the answers to all questions}."""
    import transformers

    found = {}
    for family, seed in SEEDS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder), family, "ForQuestionAnswering", seed=seed)
            pipe = transformers.pipeline("question-answering", model=str(path), device="cpu")
            pipe.tokenizer.model_max_length = pipe.model.config.max_position_embeddings - 2 * (
                family == "Roberta"
            )
            found[family] = [
                [pipe(question=question, context=context, **call) for question, context in CONTEXTS]
                for call in CALLS
            ]
    return found


if __name__ == "__main__":
    file = Path(__file__).with_name("question_answering.json")
    file.write_text(json.dumps(record(), ensure_ascii=False, indent=1) + "\n", "utf-8")
