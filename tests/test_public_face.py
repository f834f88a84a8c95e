"""The names that users type, with their parameters in order: lessons and other people's programs hold them fast."""

import inspect
from importlib import import_module

import pytest

NAMES = {
    "tokenizer": "BPETokenizer WordPieceTokenizer UnigramTokenizer load_tokenizer GPT2_PATTERN",
    "nn": "attention MultiHeadAttention SinusoidalPosition LearnedPosition RoPE ALiBi LayerNorm RMSNorm BatchNorm "
    "FeedForward SwiGLU EncoderBlock DecoderBlock Cache KVCache",
    "models": "GPT2 Llama BERT RoBERTa T5 BART ViT CLIP LLaVA UNet RNN LSTM GRU S4D Mamba Mamba2 load_model "
    "BERTForSequenceClassification BERTForMaskedLM BERTForQuestionAnswering BERTForTokenClassification",
    "training": "AdamW cosine_schedule clip_gradients TrainingArguments Trainer CausalLMObjective MaskedLMObjective "
    "Seq2SeqObjective ClassificationObjective apply_lora merge_lora save_adapter load_adapter dpo_loss ipo_loss "
    "grpo_loss ppo_loss RewardModel PPOTrainer DPOTrainer GRPOTrainer checkpointed",
    "training.parallel": "DataParallel ZeRO ColumnParallelLinear RowParallelLinear VocabParallelEmbedding Pipeline",
    "quantization": "absmax_quantize zeropoint_quantize blockwise_quantize quantile_codebook NF4_CODEBOOK quantize "
    "model_size_bytes load_packed",
    "inference": "SamplingParams generate stream KVCache kv_cache_bytes Engine Completion StepOutput BlockManager "
    "PagedKVCache speculative_generate NoiseSchedule ddpm_sample ddim_sample ChatModel LocalChat OpenAIChat "
    "ScriptedChat Reply pipeline apply_chat_template serve",
    "search": "OneHot BagOfWords TfIdf Word2Vec BM25 rrf HybridSearch ExactIndex IVFIndex NSWIndex HNSWIndex "
    "SentenceEncoder CrossEncoder cosine_similarity_loss contrastive_loss mnr_loss VectorStore",
    "apps": "SQLSandbox exact_match_sql execution_match run_python VectorStoreIndex LLMCache Guard Tracer Agent "
    "GroupChat",
    "data": "scenes read_scene fetch available python_docs standard_library_docs korean_documents shapes sql_tasks "
    "facts load_dataset Document",
    "evaluation": "perplexity bits_per_byte bleu chrf rouge exact_match f1 pass_at_k recall_at_k hit_at_k mrr ndcg "
    "map_score expected_calibration_error auc elo bradley_terry multiple_choice generate_until psi ks_statistic",
    "course": "show check plot_flow plot_lines small_model",
}
# what may be given by place, in this order; more may follow
PLACES = {
    "tokenizer.BPETokenizer.train": "texts vocab_size special_tokens pattern min_frequency",
    "tokenizer.BPETokenizer.from_files": "vocab_json merges_txt special_tokens",
    "tokenizer.BPETokenizer.__call__": "texts text_pair padding truncation max_length return_tensors",
    "tokenizer.BPETokenizer.encode": "text allowed_special",
    "tokenizer.BPETokenizer.decode": "ids skip_special_tokens",
    "nn.attention": "q k v mask causal scale bias backend",
    "nn.MultiHeadAttention": "width heads kv_heads position bias qk_norm",
    "nn.MultiHeadAttention.forward": "x context mask cache positions",
    "nn.RoPE": "dim base interleaved scaling",
    "models.Llama": "config seed",
    "models.Llama.from_pretrained": "folder dtype device",
    "models.Llama.forward": "input_ids attention_mask cache",
    "models.load_model": "path dtype device",
    "training.Trainer": "model config train_data eval_data",
    "training.apply_lora": "model r alpha targets dropout",
    "training.dpo_loss": "policy_chosen policy_rejected reference_chosen reference_rejected beta",
    "quantization.quantize": "model method bits group_size calibration",
    "inference.SamplingParams": "max_tokens temperature top_k top_p min_p repetition_penalty frequency_penalty "
    "presence_penalty logit_bias stop stop_token_ids ignore_eos min_tokens seed n best_of beams logprobs "
    "prompt_logprobs json_schema",
    "inference.generate": "model ids params cache tokenizer",
    "inference.stream": "model ids params",
    "inference.KVCache": "config batch_size max_length",
    "inference.kv_cache_bytes": "config batch_size length dtype",
    "inference.Engine": "model tokenizer block_size num_blocks max_batch_size max_batch_tokens batching prefix_caching",
    "inference.Engine.add_request": "prompt params",
    "inference.speculative_generate": "target draft ids params k",
    "inference.NoiseSchedule": "kind steps",
    "inference.ddim_sample": "model schedule shape steps guidance seed",
    "inference.OpenAIChat": "base_url model api_key",
    "inference.apply_chat_template": "tokenizer messages add_generation_prompt",
    "search.BM25": "k1 b tokenizer variant",
    "search.BM25.add": "documents ids",
    "search.rrf": "rankings k weights",
    "search.HybridSearch": "lexical dense k",
    "search.ExactIndex": "dim metric",
    "search.IVFIndex": "dim metric n_lists",
    "search.HNSWIndex": "dim metric m ef_construction codes seed",
    "search.HNSWIndex.search": "queries k ef_search filter",
    "search.IVFIndex.search": "queries k ef_search filter n_probe",
    "search.SentenceEncoder.encode": "texts batch_size normalize",
    "search.VectorStore": "dim metric path encoder",
    "search.VectorStore.query": "vector top_k filter namespace include_values include_metadata",
    "apps.execution_match": "db predicted gold",
    "apps.VectorStoreIndex.query": "question",
    "apps.Agent": "profile goal tools memory model",
    "apps.LLMCache.get_or_create": "messages make namespace",
    "data.scenes": "n size seed",
    "data.load_dataset": "name split",
    "evaluation.bleu": "hypotheses references",
    "evaluation.pass_at_k": "n c k",
    "evaluation.multiple_choice": "model tokenizer items",
}


@pytest.mark.parametrize("room", NAMES)
def test_the_names_of_a_room_are_there(room):
    module = import_module(f"minillm.{room}")
    missing = [name for name in NAMES[room].split() if not hasattr(module, name)]
    assert missing == []
    assert {name.split(".")[0] for name in PLACES} <= {one.split(".")[0] for one in NAMES}


@pytest.mark.parametrize("name", PLACES)
def test_arguments_stand_in_this_order(name):
    room, *path = name.split(".")
    thing = import_module(f"minillm.{room}")
    for part in path:
        thing = getattr(thing, part)
    expected = PLACES[name].split()
    places = [
        one.name
        for one in inspect.signature(thing).parameters.values()
        if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self"
    ]
    assert places[: len(expected)] == expected
