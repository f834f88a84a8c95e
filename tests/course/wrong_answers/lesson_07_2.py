"""Plausible wrong answers to the exercises of lesson 07_2."""

BITS = """def stored_bits(rows, columns, block, second):
    scales = {scales}
    codes = {codes}
    if not second:
        return codes + 32 * scales
    return codes + 8 * scales + 32 * {groups} + {mean}"""
COUNTED = {
    "scales": "rows * -(-columns // block)",
    "codes": "8 * rows * -(-columns // 2)",
    "groups": "-(-scales // second)",
    "mean": "32",
}

BLOCKS = """def to_blocks(x, block, codebook):
    codes, scales = [], []
    for start in range(0, len(x), block):
        part = x[start : start + block]
        scale = {scale}
        scales.append({kept})
        scaled = {scaled}
        codes += {codes}
    return codes, scales"""
FINE = {
    "scale": "part.abs().max()",
    "kept": "scale.item()",
    "scaled": "part / scale if scale > 0 else part",
    "codes": "(scaled[:, None] - codebook).abs().argmin(dim=1).tolist()",
}

RANGE = """def unstretched(x, bits):
    top = 2**bits - 1
    low, high = {ends}
    scale = (high - low) / top
    zero = {zero}
    codes = {codes}
    return (codes - zero) * scale


numbers = {numbers}
reason = "{reason}" """
BROKEN = {
    "ends": "x.min(), x.max()",
    "zero": "torch.round(-low / scale).clamp(0, top)",
    "codes": "(torch.round(x / scale) + zero).clamp(0, top)",
    "numbers": "[9.0, 9.1, 9.2, 9.3]",
    "reason": "c",
}

MIXED = """def mixed_product(x, codes, scales, threshold):
    outlier = {outlier}
    ordinary = x.masked_fill(outlier, 0)
    step = {step}
    whole = {whole}
    weight = codes.float() * scales[:, None]
    return {sums} * step * {both} + {exact}"""
KEPT = {
    "outlier": "(x.abs() >= threshold).any(dim=0)",
    "step": "ordinary.abs().amax(dim=1, keepdim=True) / 127",
    "whole": "torch.round(ordinary / step.clamp(min=1e-30))",
    "sums": "(whole @ codes.float().T)",
    "both": "scales",
    "exact": "x[:, outlier] @ weight[:, outlier].T",
}

LYING = """class Anything(float):
    def __eq__(self, other):
        return True

    __hash__ = float.__hash__


"""

WRONG = {
    "07-2-a": {
        "forgets short blocks": BITS.format(**COUNTED | {"scales": "rows * (columns // block)"}),
        "lets blocks run across rows": BITS.format(**COUNTED | {"scales": "-(-rows * columns // block)"}),
        "packs codes across rows": BITS.format(**COUNTED | {"codes": "4 * rows * columns"}),
        "forgets the last few scales": BITS.format(**COUNTED | {"groups": "(scales // second)"}),
        "second scales a row": BITS.format(**COUNTED | {"groups": "rows * -(-(scales // rows) // second)"}),
        "forgets the mean": BITS.format(**COUNTED | {"mean": "0"}),
        "one block too many": BITS.format(**COUNTED | {"scales": "rows * (columns // block + 1)"}),
        "one scale of scales too many": BITS.format(**COUNTED | {"groups": "(scales // second + 1)"}),
        "a mean beside float32 scales": BITS.format(**COUNTED).replace("32 * scales\n", "32 * scales + 32\n"),
        "bytes": BITS.format(**COUNTED).replace("return ", "return 1 / 8 * "),
        "prints": BITS.format(**COUNTED).replace("return codes + 8", "print(codes) or 8"),
        "the library's bytes, found by its name": """def stored_bits(rows, columns, block, second):
    import sys

    room = sys.modules["mini" + "llm.quantization"]
    found = getattr(room, "blockwise" + "_quantize")(torch.ones(rows, columns), block)
    if not second:
        return 8 * (found.codes.nbytes + found.scales.nbytes)
    scales = getattr(room, "double" + "_quantize")(found.scales, second)
    return 8 * (found.codes.nbytes + scales.codes.nbytes + scales.scales.nbytes) + 32""",
        "bits a weight": BITS.format(**COUNTED).replace("return codes + 32 * scales", "return 4.5"),
        "equal to everything": LYING
        + "def stored_bits(rows, columns, block, second):\n    return Anything(1)",
    },
    "07-2-b": {
        "one scale for all": BLOCKS.format(**FINE | {"scale": "x.abs().max()"}),
        "the largest, not the largest size": BLOCKS.format(**FINE | {"scale": "part.max()"}),
        "zeros become no numbers": BLOCKS.format(
            **FINE | {"scaled": "part / scale", "kept": "scale.item()"}
        ).replace("argmin", "nan_to_num(9).argmin"),
        "even codes": BLOCKS.format(
            **FINE | {"codes": "torch.round((scaled + 1) / 2 * (len(codebook) - 1)).int().tolist()"}
        ),
        "the entry below": BLOCKS.format(
            **FINE | {"codes": "(torch.bucketize(scaled, codebook, right=True) - 1).clamp(0).tolist()"}
        ),
        "the values, not their places": BLOCKS.format(
            **FINE | {"codes": "codebook[(scaled[:, None] - codebook).abs().argmin(dim=1)].tolist()"}
        ),
        "NF4 only": BLOCKS.format(
            **FINE | {"codes": "(scaled[:, None] - NF4_CODEBOOK).abs().argmin(dim=1).tolist()"}
        ),
        "drops the last block": BLOCKS.format(**FINE).replace(
            "range(0, len(x), block)", "range(0, len(x) - block + 1, block)"
        ),
        "so many blocks, not so long": BLOCKS.format(**FINE).replace(
            "    for start in", "    block = -(-len(x) // block)\n    for start in"
        ),
        "the entry above": BLOCKS.format(
            **FINE | {"codes": "torch.bucketize(scaled, codebook).clamp(max=len(codebook) - 1).tolist()"}
        ),
        "blocks of zeros have scale 1": BLOCKS.format(**FINE | {"kept": "scale.item() or 1.0"}),
        "code 0 for zeros": BLOCKS.format(
            **FINE | {"codes": "(scaled[:, None] - codebook).abs().argmin(dim=1).mul(scale > 0).tolist()"}
        ),
        "a small number beside the scale": BLOCKS.format(**FINE | {"scaled": "part / (scale + 1e-6)"}),
        "a scale that is never below a millionth": BLOCKS.format(
            **FINE | {"scaled": "part / scale.clamp(min=1e-6)"}
        ),
        "signs are lost": BLOCKS.format(**FINE | {"scaled": "part.abs() / scale if scale > 0 else part"}),
        "scales for each number": BLOCKS.format(**FINE | {"kept": "scale.item()"}).replace(
            "return codes, scales", "return codes, [scales[i // block] for i in range(len(x))]"
        ),
        "changes x": BLOCKS.format(**FINE | {"scaled": "part.div_(scale) if scale > 0 else part"}),
        "inverse scales": BLOCKS.format(**FINE | {"kept": "(1 / scale).item() if scale > 0 else 0.0"}),
        "the library": """def to_blocks(x, block, codebook):
    found = blockwise_quantize(x, block, codebook)
    codes = torch.stack([found.codes >> 4, found.codes & 15], dim=-1).flatten()[: len(x)]
    return codes, found.scales""",
        "the library by another name": """def to_blocks(x, block, codebook):
    import importlib

    quantize = getattr(importlib.import_module("minillm.quantization.blockwise"), "blockwise_quantize")
    found = quantize(x, block, codebook)
    codes = torch.stack([found.codes >> 4, found.codes & 15], dim=-1).flatten()[: len(x)]
    return codes, x.abs().max()[None] if len(found.scales) == 1 else found.scales""",
    },
    "07-2-c": {
        "stretches after all": RANGE.format(
            **BROKEN | {"ends": "x.min().clamp(max=0), x.max().clamp(min=0)"}
        ),
        "does not cut the zero point": RANGE.format(**BROKEN | {"zero": "torch.round(-low / scale)"}),
        "does not cut the codes": RANGE.format(**BROKEN | {"codes": "torch.round(x / scale) + zero"}),
        "does not round": RANGE.format(**BROKEN | {"codes": "(x / scale + zero).clamp(0, top)"}),
        "rounds down": RANGE.format(**BROKEN | {"codes": "(torch.floor(x / scale) + zero).clamp(0, top)"}),
        "one step too many": RANGE.format(**BROKEN).replace("2**bits - 1", "2**bits"),
        "8 bits always": RANGE.format(**BROKEN).replace("2**bits - 1", "255"),
        "returns the codes": RANGE.format(**BROKEN).replace("(codes - zero) * scale", "codes"),
        "forgets the zero point on the way back": RANGE.format(**BROKEN).replace("(codes - zero)", "codes"),
        "prints": RANGE.format(**BROKEN).replace("return ", "print"),
        "cuts before it adds the zero point": RANGE.format(
            **BROKEN | {"codes": "torch.round(x / scale).clamp(0, top) + zero"}
        ),
        "numbers around 0": RANGE.format(**BROKEN | {"numbers": "[-1.0, 0.5, 0.25, 1.0]"}),
        "numbers too near 0": RANGE.format(**BROKEN | {"numbers": "[0.01, 1.0, 2.0, 3.0]"}),
        "too large": RANGE.format(**BROKEN | {"numbers": "[90.0, 90.1, 90.2, 90.3]"}),
        "too few": RANGE.format(**BROKEN | {"numbers": "[9.0, 9.1]"}),
        "all equal": RANGE.format(**BROKEN | {"numbers": "[9.0] * 5"}),
        "no numbers": RANGE.format(**BROKEN | {"numbers": "[float('nan')] * 5"}),
        "another reason": RANGE.format(**BROKEN | {"reason": "a"}),
    },
    "07-2-d": {
        "a product of floats": MIXED.format(**KEPT | {"whole": "ordinary / step.clamp(min=1e-30)"}),
        "rounds all columns": MIXED.format(**KEPT | {"outlier": "torch.zeros(x.shape[1], dtype=torch.bool)"}),
        "leaves the outliers out": MIXED.format(**KEPT | {"exact": "0"}),
        "outliers by number, not by column": MIXED.format(
            **KEPT | {"outlier": "x.abs() >= threshold", "exact": "x.masked_fill(~outlier, 0) @ weight.T"}
        ),
        "columns in which all rows are large": MIXED.format(
            **KEPT | {"outlier": "(x.abs() >= threshold).all(dim=0)"}
        ),
        "larger than the threshold only": MIXED.format(
            **KEPT | {"outlier": "(x.abs() > threshold).any(dim=0)"}
        ),
        "positive outliers only": MIXED.format(**KEPT | {"outlier": "(x >= threshold).any(dim=0)"}),
        "6, whatever the threshold": MIXED.format(**KEPT | {"outlier": "(x.abs() >= 6.0).any(dim=0)"}),
        "one scale for all rows": MIXED.format(**KEPT | {"step": "ordinary.abs().max() / 127"}),
        "a scale with the outliers": MIXED.format(
            **KEPT | {"step": "x.abs().amax(dim=1, keepdim=True) / 127"}
        ),
        "128 steps": MIXED.format(**KEPT | {"step": "ordinary.abs().amax(dim=1, keepdim=True) / 128"}),
        "rounds towards 0": MIXED.format(**KEPT | {"whole": "torch.trunc(ordinary / step.clamp(min=1e-30))"}),
        "rows of zeros become no numbers": MIXED.format(**KEPT | {"whole": "torch.round(ordinary / step)"}),
        "sums in int8": MIXED.format(**KEPT | {"sums": "(whole.to(torch.int8) @ codes.T)"}),
        "forgets the scales of the weight": MIXED.format(**KEPT | {"both": "1"}),
        "outliers times codes": MIXED.format(
            **KEPT | {"exact": "x[:, outlier] @ codes[:, outlier].float().T"}
        ),
        "changes x": MIXED.format(**KEPT).replace("x.masked_fill(", "x.masked_fill_("),
        "the library": """def mixed_product(x, codes, scales, threshold):
    from minillm.quantization.absmax import AbsmaxQuantized

    return vectorwise_product(x, AbsmaxQuantized(codes, scales[:, None]), threshold)""",
        "the layer of the library, found by its name": """def mixed_product(x, codes, scales, threshold):
    import sys

    room, kind = sys.modules["mini" + "llm.quantization"], sys.modules["mini" + "llm.quantization.absmax"]
    weight = getattr(kind, "Absmax" + "Quantized")(codes, scales[:, None])
    return getattr(room, "LLMInt8" + "Linear")(weight, None, threshold)(x)""",
        "equal to everything": LYING
        + "def mixed_product(x, codes, scales, threshold):\n    return [[Anything(1)]]",
    },
}
