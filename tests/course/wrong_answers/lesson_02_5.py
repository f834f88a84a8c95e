"""Plausible wrong answers to the exercises of lesson 02_5."""

BLOCK = """def decoder_block(x, memory, source_mask, parts):
    T = x.shape[1]
    mask = {mask}
    x = {first}
    x = {second}
    return {third}"""
STEPS = {
    "mask": "causal_mask(T, T)",
    "first": "parts.norm1(x + parts.self_attention(x, None, mask))",
    "second": "parts.norm2(x + parts.cross_attention(x, memory, padding_mask(source_mask)))",
    "third": "parts.norm3(x + parts.feed_forward(x))",
}

ROWS = """def teacher_forcing(targets, start, end, padding):
    longest = max(len(text) for text in targets)
    inputs = [{inputs} for text in targets]
    labels = [{labels} for text in targets]
    return inputs, labels"""
RIGHT = {
    "inputs": "[start, *text] + [padding] * (longest - len(text))",
    "labels": "[*text, end] + [-100] * (longest - len(text))",
}

LEAK = """def diagnose(before, after):
    changed = (after - before).abs().amax(dim=-1) > {limit}
    last, later = {last}, {later}
    if last:
        return "both" if later else "shift"
    return "mask" if later else "fine"


why = {why}"""
FOUND = {
    "limit": "1e-3",
    "last": "bool(changed[-1].any())",
    "later": "bool(changed.tril(-1).any())",
    "why": '"b"',
}

WRONG = {
    "02-5-a": {
        "forgets the causal mask": BLOCK.format(**STEPS | {"mask": "None"}),
        "the mask the other way round": BLOCK.format(**STEPS | {"mask": "~causal_mask(T, T)"}),
        "a token does not see itself": BLOCK.format(**STEPS | {"mask": "causal_mask(T, T).tril(-1)"}),
        "forgets the padding mask": BLOCK.format(
            **STEPS | {"second": "parts.norm2(x + parts.cross_attention(x, memory, None))"}
        ),
        "the padding mask the other way round": BLOCK.format(
            **STEPS
            | {"second": "parts.norm2(x + parts.cross_attention(x, memory, ~padding_mask(source_mask)))"}
        ),
        "hides only padding that all texts have": BLOCK.format(
            **STEPS
            | {
                "second": "parts.norm2(x + parts.cross_attention(x, memory, padding_mask(source_mask).any(0, True)))"
            }
        ),
        "torch's layer with the weights put in": """def decoder_block(x, memory, source_mask, parts):
    C, heads, up = x.shape[2], parts.self_attention.heads, parts.feed_forward.up_proj
    layer = torch.nn.TransformerDecoderLayer(C, heads, len(up.weight), 0.0, "gelu", batch_first=True)
    for ours, theirs in ((parts.self_attention, layer.self_attn), (parts.cross_attention, layer.multihead_attn)):
        three = ours.q_proj, ours.k_proj, ours.v_proj
        theirs.in_proj_weight.data = torch.cat([one.weight for one in three])
        theirs.in_proj_bias.data = torch.cat([one.bias for one in three])
        theirs.out_proj.load_state_dict(ours.o_proj.state_dict())
    layer.linear1.load_state_dict(up.state_dict())
    layer.linear2.load_state_dict(parts.feed_forward.down_proj.state_dict())
    for name in ("norm1", "norm2", "norm3"):
        getattr(layer, name).load_state_dict(getattr(parts, name).state_dict())
    later = ~causal_mask(x.shape[1], x.shape[1])
    return layer(x, memory, tgt_mask=later, memory_key_padding_mask=source_mask == 0)""",
        "padding only at the end": BLOCK.format(
            **STEPS
            | {
                "second": "parts.norm2(x + parts.cross_attention(x, memory, (torch.arange(memory.shape[1]) < "
                "source_mask.sum(1)[:, None])[:, None, None]))"
            }
        ),
        "padding only at the beginning": BLOCK.format(
            **STEPS
            | {
                "second": "parts.norm2(x + parts.cross_attention(x, memory, padding_mask(source_mask.cumsum(1) > 0)))"
            }
        ),
        "padding made zero, not hidden": BLOCK.format(
            **STEPS
            | {"second": "parts.norm2(x + parts.cross_attention(x, memory * source_mask[..., None], None))"}
        ),
        "the memory asks": BLOCK.format(
            **STEPS | {"second": "parts.norm2(x + parts.cross_attention(memory, x, None)[:, :1])"}
        ),
        "no cross-attention": BLOCK.format(**STEPS | {"second": "parts.norm2(x)"}),
        "cross-attention to itself": BLOCK.format(
            **STEPS | {"second": "parts.norm2(x + parts.cross_attention(x, None, mask))"}
        ),
        "cross-attention first": BLOCK.format(**STEPS | {"first": STEPS["second"], "second": STEPS["first"]}),
        "pre-norm": BLOCK.format(
            mask="causal_mask(T, T)",
            first="x + parts.self_attention(parts.norm1(x), None, mask)",
            second="x + parts.cross_attention(parts.norm2(x), memory, padding_mask(source_mask))",
            third="x + parts.feed_forward(parts.norm3(x))",
        ),
        "forgets a residual": BLOCK.format(**STEPS | {"third": "parts.norm3(parts.feed_forward(x))"}),
        "forgets the residual of the cross-attention": BLOCK.format(
            **STEPS | {"second": "parts.norm2(parts.cross_attention(x, memory, padding_mask(source_mask)))"}
        ),
        "norms only what the part adds": BLOCK.format(
            **STEPS | {"first": "x + parts.norm1(parts.self_attention(x, None, mask))"}
        ),
        "the residual adds the normalised input": BLOCK.format(
            **STEPS | {"third": "parts.norm3(parts.norm3(x) + parts.feed_forward(x))"}
        ),
        "the norms in another order": BLOCK.format(
            **STEPS
            | {
                "second": STEPS["second"].replace("norm2", "norm3"),
                "third": STEPS["third"].replace("norm3", "norm2"),
            }
        ),
        "forgets the last norm": BLOCK.format(**STEPS | {"third": "x + parts.feed_forward(x)"}),
        "the library's": """def decoder_block(x, memory, source_mask, parts):
    block = DecoderBlock(x.shape[2], parts.self_attention.heads, cross_attention=parts.cross_attention,
                         feed_forward=parts.feed_forward, pre_norm=False)
    block.attention.load_state_dict(parts.self_attention.state_dict())
    block.norm1, block.norm2, block.norm3 = parts.norm1, parts.norm3, parts.norm2
    return block(x, memory, context_mask=padding_mask(source_mask))""",
    },
    "02-5-b": {
        "forgets the shift": ROWS.format(
            **RIGHT | {"inputs": "[*text, end] + [padding] * (longest - len(text))"}
        ),
        "forgets the end": ROWS.format(**RIGHT | {"labels": "[*text] + [-100] * (longest + 1 - len(text))"}),
        "forgets the start": ROWS.format(
            **RIGHT | {"inputs": "[*text] + [padding] * (longest + 1 - len(text))"}
        ),
        "the end in the inputs, too": ROWS.format(
            **RIGHT | {"inputs": "([start, *text, end] + [padding] * longest)[:longest + 1]"}
        ),
        "labels padded as inputs are": ROWS.format(
            **RIGHT | {"labels": "[*text, end] + [padding] * (longest - len(text))"}
        ),
        "inputs padded with -100": ROWS.format(
            **RIGHT | {"inputs": "[start, *text] + [-100] * (longest - len(text))"}
        ),
        "hides every id that is padding": ROWS.format(
            **RIGHT
            | {
                "labels": "[-100 if i == padding else i for i in [*text, end] + [padding] * (longest - len(text))]"
            }
        ),
        "padding in front": ROWS.format(
            **RIGHT | {"inputs": "[padding] * (longest - len(text)) + [start, *text]"}
        ),
        "no padding": ROWS.format(inputs="[start, *text]", labels="[*text, end]"),
        "always 1, 2 and 0": ROWS.format(
            inputs="[1, *text] + [0] * (longest - len(text))",
            labels="[*text, 2] + [-100] * (longest - len(text))",
        ),
        "changes the given lists": """def teacher_forcing(targets, start, end, padding):
    inputs = [[start, *text] for text in targets]
    longest = max(map(len, inputs))
    for text in targets:
        text.append(end)
        text += [-100] * (longest - len(text))
    return [row + [padding] * (longest - len(row)) for row in inputs], targets""",
        "the labels first": ROWS.format(**RIGHT).replace("return inputs, labels", "return labels, inputs"),
        "the library's": """def teacher_forcing(targets, start, end, padding):
    longest = max(map(len, targets)) + 1
    labels = torch.tensor([[*text, end] + [-100] * (longest - len(text) - 1) for text in targets])
    return shift_right(labels, start, padding), labels""",
    },
    "02-5-c": {
        "always fine": 'def diagnose(before, after):\n    return "fine"\n\n\nwhy = "b"',
        "a limit of 0": LEAK.format(**FOUND | {"limit": "0"}),
        "a limit of 1": LEAK.format(**FOUND | {"limit": "1"}),
        "counts the diagonal as later": LEAK.format(**FOUND | {"later": "bool(changed.tril(0).any())"}),
        "looks at the wrong side": LEAK.format(**FOUND | {"later": "bool(changed.triu(1).any())"}),
        "looks at the first label": LEAK.format(**FOUND | {"last": "bool(changed[0, 0].any())"}),
        "calls any leak a forgotten mask": LEAK.format(**FOUND | {"last": "False"}),
        "calls any leak a forgotten shift": LEAK.format(**FOUND | {"later": "False"}),
        "only where logits grow": LEAK.format(**FOUND).replace(".abs()", ""),
        "adds the changes up": LEAK.format(**FOUND).replace(".abs().amax(dim=-1)", ".sum(dim=-1).abs()"),
        "the mean change": LEAK.format(**FOUND).replace(".amax(dim=-1)", ".mean(dim=-1)"),
        "the likeliest token only": LEAK.format(**FOUND).replace(
            "(after - before).abs().amax(dim=-1) > 1e-3", "after.argmax(dim=-1) != before.argmax(dim=-1)"
        ),
        "the first logit only": LEAK.format(**FOUND).replace(".amax(dim=-1)", "[..., 0]"),
        "the learning rate": LEAK.format(**FOUND | {"why": '"a"'}),
        "the encoder": LEAK.format(**FOUND | {"why": '"c"'}),
        "padding": LEAK.format(**FOUND | {"why": '"d"'}),
        "all letters": LEAK.format(**FOUND | {"why": '"abcd"'}),
    },
    "02-5-d": {
        "keys first": "prediction = [(3, 4, 20, 20), (3, 4, 11, 11), (3, 4, 20, 11)]",
        "square": "prediction = [(3, 4, 20, 20), (3, 4, 11, 11), (3, 4, 11, 11)]",
        "heads last": "prediction = [(3, 20, 20, 4), (3, 11, 11, 4), (3, 11, 20, 4)]",
        "no heads": "prediction = [(3, 20, 20), (3, 11, 11), (3, 11, 20)]",
        "one shape": "prediction = [(3, 4, 20, 20)]",
        "the decoder sees both texts": "prediction = [(3, 4, 20, 20), (3, 4, 11, 31), (3, 4, 11, 20)]",
    },
}
