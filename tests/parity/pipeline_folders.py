"""Tiny folders with a tokenizer for the pipelines: models of transformers with random weights far from near-ties."""

import json
from zlib import crc32

import torch

from minillm.data import korean_documents
from minillm.tokenizer import BPETokenizer, WordPieceTokenizer

KOREAN = [
    "대한민국의 수도는 서울이다.",
    "김민수는 부산에서 작은 서점을 열었다.",
    "새로운 반도체 공장이 내년 봄에 문을 연다고 회사가 밝혔다.",
    "어제 경기에서 한국이 2대 1로 이겼다!",
]
ENGLISH = [
    "The capital of Korea is Seoul.",
    "Kim opened a small bookshop in Busan.",
    "A new factory opens next spring, the company said on Monday.",
    "They won 2-1!",
]
TEXTS = [*KOREAN, *ENGLISH]
LABELS = {0: "정치", 1: "경제", 2: "스포츠"}
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC", 4: "I-LOC"}
WINDOW = 72
BERT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": WINDOW, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DECODERS = {
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 2 * WINDOW},
    "Llama": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 2 * WINDOW,
    },
}  # fmt: skip
ROBERTA_TOKENS = {
    "bos": "<s>",
    "cls": "<s>",
    "pad": "<pad>",
    "sep": "</s>",
    "eos": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
}


def training_texts():
    return [*TEXTS * 20, *(document.text[:200] for document in korean_documents(40, seed=3))]


def wordpiece():
    """Cased, so that Hangul stays whole."""
    return WordPieceTokenizer.train(training_texts(), 1100, lowercase=False)


def roberta_bpe():
    ours = BPETokenizer.train(training_texts(), 700, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    processor = {
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
        "add_prefix_space": False,
    }  # fmt: skip
    return BPETokenizer.from_parts(
        ours.model, ours.added_tokens.values(), {**ours.layout, "post_processor": processor}
    )


def plain_bpe():
    return BPETokenizer.train(training_texts(), 700, ("<|endoftext|>",))


def write(folder, family, head, seed=0, scale=0.25, **options):
    """A folder with transformers' `family` + `head` and a tokenizer that both libraries open; the tokenizer."""
    import transformers

    tokenizer = {"Bert": wordpiece, "Roberta": roberta_bpe}.get(family, plain_bpe)()
    tokenizer.save(folder)
    sizes = {"vocab_size": tokenizer.vocab_size, **(DECODERS.get(family) or BERT), **options}
    if family == "Roberta":
        sizes |= {"type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        described = {f"{role}_token": name for role, name in ROBERTA_TOKENS.items()}
        described |= {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"],
        }  # fmt: skip
        set_tokenizer(folder, **described)
    if family in DECODERS:
        sizes |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
        names = {"model_input_names": ["input_ids", "attention_mask"], "pad_token": "<|endoftext|>"}
        set_tokenizer(folder, **names)
    model = getattr(transformers, family + head)(getattr(transformers, f"{family}Config")(**sizes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # by name: the order of the parameters is not the same in every version
            generator = torch.Generator().manual_seed(crc32(name.encode()) + seed)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if ("norm" in name.lower() or "ln_" in name) and "weight" in name:
                parameter.add_(1)
    model.eval().save_pretrained(folder)
    return folder


def set_tokenizer(folder, **values):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    (folder / "checksums.json").unlink(missing_ok=True)
