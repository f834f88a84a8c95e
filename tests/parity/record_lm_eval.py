"""lm-evaluation-harness' own verdicts on kept log-likelihoods and texts, written to lm_eval.json.

    python tests/parity/record_lm_eval.py LOG_LIKELIHOODS DATA     in an environment with lm_eval 0.4.13

LOG_LIKELIHOODS: what record_log_likelihoods.py keeps. No model is run here: the log-likelihoods go into the library's
`ConfigurableTask.process_results`, the texts through the filters and the metric of its own gsm8k.yaml.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lm_eval
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

sys.path.insert(0, str(Path(__file__).parent))
from lm_eval_items import FIXTURE, gsm8k_rows, key, mmlu_rows  # the environment has no minillm


class Given(ConfigurableTask):
    """A task whose documents are given: nothing is downloaded."""

    rows: tuple[dict, ...] = ()

    def download(self, *args, **kwargs):
        import datasets

        self.dataset = {"test": datasets.Dataset.from_list(list(self.rows))}


def task(rows: list[dict], config: dict) -> ConfigurableTask:
    Given.rows = tuple(rows)
    return Given(config=config | {"task": config["task"], "dataset_path": "given", "test_split": "test"})


def choices(rows: list[dict], form: str, scores: list[list[float]]) -> list[dict]:
    """acc and acc_norm of each item, letters or texts as choices."""
    docs = [
        {"choices": list("ABCD") if form == "letters" else row["choices"], "gold": row["answer"]}
        for row in rows
    ]
    metrics = [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
    ]
    asked = task(
        docs,
        {"task": form, "output_type": "multiple_choice", "doc_to_text": "", "doc_to_target": "{{gold}}",
         "doc_to_choice": "{{choices}}", "metric_list": metrics},
    )  # fmt: skip
    found = []
    for doc, row in zip(asked.dataset["test"], scores):
        result = asked.process_results(doc, [(score, False) for score in row])
        found.append({name: int(result[name]) for name in ("acc", "acc_norm")})
    return found


def written(rows: list[dict]) -> list[dict]:
    """exact_match of each text under both filters of gsm8k.yaml."""
    path = Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    kept = ("output_type", "doc_to_text", "doc_to_target", "metric_list", "generation_kwargs", "filter_list")
    docs = [{"question": row["question"], "answer": row["answer"]} for row in rows]
    asked = task(docs, {"task": "gsm8k_given", **{name: config[name] for name in kept}})
    until = config["generation_kwargs"]["until"]
    asked._instances = []
    for place, (doc, row) in enumerate(zip(asked.dataset["test"], rows)):
        one = Instance("generate_until", doc, ("", {}), 0, metadata=("gsm8k_given", place, 1))
        text = row["text"]
        for stop in until:  # a model's wrapper cuts the text, as hf's does
            text = text.split(stop)[0]
        one.resps = [text]
        asked._instances.append(one)
    asked.apply_filters()
    return [
        {
            name: int(asked.process_results(one.doc, [one.filtered_resps[name]])["exact_match"])
            for name in ("strict-match", "flexible-extract")
        }
        for one in asked._instances
    ]


def main() -> None:
    kept, data = json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]).joinpath
    rows, problems = mmlu_rows(data), gsm8k_rows(data)
    letters = choices(rows, "letters", [one["letters"] for one in kept])
    some = [place for place, one in enumerate(kept) if "texts" in one]
    texts = dict(zip(some, choices([rows[p] for p in some], "texts", [kept[p]["texts"] for p in some])))
    mmlu = []
    for place, one in enumerate(kept):
        mmlu.append({"id": one["id"], "letters": one["letters"], "letters_found": letters[place]})
        if place in texts:
            mmlu[-1] |= {"texts": one["texts"], "texts_found": texts[place]}
    gsm8k = [
        {"id": key(row["question"]), "form": row["form"], **found}
        for row, found in zip(problems, written(problems))
    ]
    lines = ",\n".join(f'"{name}": [\n' + ",\n".join(map(json.dumps, part)) + "\n]"
                       for name, part in (("mmlu", mmlu), ("gsm8k", gsm8k)))  # fmt: skip
    FIXTURE.write_text(f'{{"lm_eval": "{lm_eval.__version__}",\n{lines}}}\n', "utf-8")
    for name in ("acc", "acc_norm"):
        print("letters", name, sum(one[name] for one in letters), "of", len(letters))
        print("texts", name, sum(one[name] for one in texts.values()), "of", len(texts))
    for name in ("strict-match", "flexible-extract"):
        print("gsm8k", name, sum(one[name] for one in gsm8k), "of", len(gsm8k))


if __name__ == "__main__":
    main()
