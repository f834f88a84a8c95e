"""llama.cpp in a process of its own: `ask(path, texts=..., strings=...)` starts it, with an end to its time.

It scores a text that is given to it token by token: a grammar that knows that text alone leaves it no choice, and the
log-likelihoods are those of before the grammar. One thread, keys and values in float32, no flash attention (whose CPU
kernel keeps its sums in half precision).
"""

import http.client
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit


def ask(path, texts=(), strings=(), seconds=240, add_special=False):
    """{"scores": [(first, ids, log-likelihoods) for each text], "ids": [ids of each string]}.

    The first word of a text is the prompt, what is scored comes after it.
    """
    given = json.dumps(
        {"path": str(path), "texts": list(texts), "strings": list(strings), "special": add_special}
    )
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())], input=given.encode(), capture_output=True, timeout=seconds,
        check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.decode("utf-8").splitlines() if line.startswith("ANSWER ")]
    if done.returncode or not lines:
        raise RuntimeError(
            f"llama.cpp ended with {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-800:]}"
        )
    return json.loads(lines[-1].removeprefix("ANSWER "))


def serve(path):
    import xllamacpp

    options = xllamacpp.CommonParams()
    options.model.path, options.n_ctx, options.n_parallel, options.warmup = path, 512, 1, False
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return xllamacpp.Server(options)


def main():
    given = json.loads(sys.stdin.buffer.read())
    server = serve(given["path"])
    scores, ids = [], []
    for text in given["texts"]:
        first, rest = text[: text.index(" ")], text[text.index(" ") :]
        request = {"prompt": first, "max_tokens": 64, "temperature": 0, "logprobs": 1, "cache_prompt": False}
        reply = server.handle_completions({**request, "grammar": f"root ::= {json.dumps(rest)}"})
        tokens = reply["choices"][0]["logprobs"]["content"]
        scores.append((first, [token["id"] for token in tokens], [token["logprob"] for token in tokens]))
    address = urlsplit(server.listening_address)  # on this machine; ids are asked for there alone
    for string in given["strings"]:
        line = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        asked = {"content": string, "add_special": given["special"], "parse_special": False}
        line.request("POST", "/tokenize", json.dumps(asked), {"Content-Type": "application/json"})
        ids.append(json.loads(line.getresponse().read())["tokens"])
        line.close()
    print("\nANSWER " + json.dumps({"scores": scores, "ids": ids}), flush=True)


if __name__ == "__main__":
    main()
