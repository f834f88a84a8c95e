"""Mends Triton's interpreter (3.6 to 3.9) for the tests, so that one source serves the GPU and the CPU.

What is wrong there: `tl.dot` multiplies the BITS of bfloat16 numbers, float32 to bfloat16 cuts instead of rounding
to the nearest even, the smallest (subnormal) bfloat16 numbers widen to wrong ones, and masks that are not bool index
instead of selecting. And it is slow: for every call of a function within a kernel it replaces all of triton.language
by its own, again. Only tests/kernels/conftest.py calls `mend`; the kernels know nothing of it (kernels/_checks.py
asks for the flag `bfloat16_mended` before it lets bfloat16 in).
"""

from __future__ import annotations

import numpy as np


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """uint16 bits of bfloat16 -> the same numbers in float32: bfloat16 is the upper half of a float32."""
    return (np.asarray(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)


def float32_to_bfloat16(numbers: np.ndarray) -> np.ndarray:
    """float32 -> uint16 bits of the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = np.ascontiguousarray(numbers, dtype=np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)  # ties go to the even neighbour
    rounded = ((bits + (np.uint32(0x7FFF) + odd)) >> np.uint32(16)).astype(np.uint16)
    return np.where((bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000), np.uint16(0x7FC0), rounded)


def mend() -> bool:
    """Patch the interpreter if this process runs in it; True if it does. Call before the first kernel runs."""
    import triton
    import triton.language as tl

    if not triton.knobs.runtime.interpret:
        return False
    from triton.runtime import interpreter
    from triton.runtime.interpreter import InterpreterBuilder as Builder
    from triton.runtime.interpreter import TensorHandle

    if getattr(Builder, "bfloat16_mended", False):
        return True
    dot, cast, convert = Builder.create_dot, Builder.cast_impl, Builder.create_fp_to_fp
    load, store = Builder.create_masked_load, Builder.create_masked_store

    def widened(x):
        return TensorHandle(bfloat16_to_float32(x.data), tl.float32) if x.dtype.scalar == tl.bfloat16 else x

    def between(source, target):
        """source in bfloat16 or float32, if that is the conversion asked for, else None."""
        if source.dtype.scalar == tl.float32 and target.scalar == tl.bfloat16:
            return TensorHandle(float32_to_bfloat16(source.data), tl.bfloat16)
        if source.dtype.scalar == tl.bfloat16 and target.scalar == tl.float32:
            return widened(source)
        return None

    def as_bool(mask):
        is_number = isinstance(mask, TensorHandle) and mask.data.dtype != np.bool_
        return TensorHandle(mask.data.astype(np.bool_), tl.int1) if is_number else mask

    def create_dot(self, a, b, *rest, **options):
        return dot(self, widened(a), widened(b), *rest, **options)

    def cast_impl(self, source, target):
        converted = between(source, target)
        return cast(self, source, target) if converted is None else converted

    def create_fp_to_fp(self, source, target, mode):
        converted = between(source, target)
        return convert(self, source, target, mode) if converted is None else converted

    def create_masked_load(self, pointers, mask, *rest, **options):
        return load(self, pointers, as_bool(mask), *rest, **options)

    def create_masked_store(self, pointers, value, mask, *rest, **options):
        return store(self, pointers, value, as_bool(mask), *rest, **options)

    replace = interpreter._patch_lang

    def _patch_lang(function):
        used = [x for x in function.__globals__.values() if x is tl or x is tl.core]
        if used and not any(tl.core.is_builtin(language.load) for language in used):
            return (
                interpreter._LangPatchScope()
            )  # done already by the launch: nothing to replace, nothing to put back
        return replace(function)

    interpreter._patch_lang = _patch_lang
    for patch in (create_dot, cast_impl, create_fp_to_fp, create_masked_load, create_masked_store):
        setattr(Builder, patch.__name__, patch)
    Builder.bfloat16_mended = True
    return True
