"""The form every lesson has (see CONTRIBUTING.md): a short, complete example that `author new` starts a lesson from."""

from minillm.course.lessons.ids import exercise_prefix
from minillm.course.lessons.map import Lesson

TEXT = """# %% [markdown]
# # TITLE
#
# **N장 책의 장 제목** · N.N 절 제목 · MINUTES minutes on two cores
#
# At the end you will have built one merge of a tokenizer, and know a text on which it gains nothing.

# %%
import random

from minillm.course import check, needs, plot_bars, predict, reveal, setup, show
from minillm.data import load_dataset
from minillm.tokenizer.bpe_plain import best_pair, count_pairs, merge_pair

setup()

# %% [markdown]
# ## The problem
#
# A model reads tokens, and every token costs time. One token for each byte is the simplest choice, and the dearest.


# %% tags=["exercise-setup"]
def byte_tokens(text):
    return [bytes([byte]) for byte in text.encode("utf-8")]


# %%
tokens = byte_tokens("banana bandana")
print(len(tokens), "tokens:", *[token.decode() for token in tokens])

# %% [markdown]
# ## Build
#
# A merge makes one token of two neighbours. `count_pairs` counts the neighbours, `merge_pair` joins one pair, from the
# left.

# %%
show(count_pairs, merge_pair, core=True)

# %% tags=["predict"]
guess = ...  # a, b or c
predict("Which pair stands most often in 'banana bandana'?", guess, ["b and a", "a and n", "n and a"])

# %%
counts = count_pairs([(tokens, 1)])
plot_bars(
    {b"".join(pair).decode(): count for pair, count in counts.most_common(5)}, title="how often a pair occurs"
)

# %%
reveal(guess, "b", "a is followed by n twice in each word, four times in all.")

# %% tags=["predict"]
left = ...  # a number
predict("The text has 14 tokens and the pair stands in it 4 times. How many tokens are left?", left)

# %%
merged = merge_pair(tokens, best_pair(counts))
print(*[token.decode() for token in merged])

# %%
reveal(left, len(merged), "Each place where the pair stands gives one token back: 14 - 4 = 10.")

# %% [markdown]
# ## Prove
#
# On 200 random texts, the tokens after a merge still spell the text, and there are fewer of them.

# %% tags=["prove"]
generator = random.Random(0)
texts = ["".join(generator.choices("abn", [3, 1, 2], k=30)) for _ in range(200)]
saved = []
for text in texts:
    before = byte_tokens(text)
    after = merge_pair(before, best_pair(count_pairs([(before, 1)])))
    assert b"".join(after).decode() == text
    saved.append(len(before) - len(after))
assert min(saved) >= 1
print(f"{len(texts)} texts spelled the same; a merge saves {min(saved)} to {max(saved)} of 30 tokens")

# %% [markdown]
# ## Measure
#
# Does a pair that was learned on some texts help on others? The first half is for learning, the second for measuring.

# %%
learned = best_pair(count_pairs([(byte_tokens(text), 1) for text in texts[:100]]))
held_out = [text for text in texts[100:] if text not in texts[:100]]
shorter = [
    len(merge_pair(byte_tokens(text), (b"n", b"a"))) - len(merge_pair(byte_tokens(text), learned))
    for text in held_out
]
wins, losses = sum(gain > 0 for gain in shorter), sum(gain < 0 for gain in shorter)
print(f"learned: {b''.join(learned).decode()}; n = {len(held_out)} held-out texts, against 'na':")
print(f"shorter {wins} times, longer {losses} times, equal {len(held_out) - wins - losses} times")

# %% [markdown]
# The learned pair is better on most texts, not on all: the text decides.
#
# ## Exercises

# %% [markdown]
# ### Exercise PREFIXa · Merge a pair (build, 2 points)
#
# Write `merge(tokens, pair)`: the list of tokens with every occurrence of the pair joined, from left to right. In
# `aaa` the pair `(a, a)` occurs once. The list you are given may be empty, and stays as it is. `merge_pair` may not be
# used: you build it.


# %%
def merge(tokens, pair):
    ### BEGIN SOLUTION
    merged = []
    for token in tokens:
        if merged and merged[-1] == pair[0] and token == pair[1]:
            merged[-1] = pair[0] + pair[1]
        else:
            merged.append(token)
    return merged
    ### END SOLUTION


# %%
check("PREFIXa", merge)
### BEGIN HIDDEN TESTS
assert list(merge(byte_tokens("aaa"), (b"a", b"a"))) == [b"aa", b"a"]
### END HIDDEN TESTS

# %% [markdown]
# ### Exercise PREFIXb · A text without a gain (break, 2 points)
#
# Find a text of at least 20 characters from which the merge of its commonest pair takes one token only. Say in a
# comment why no merge helps it.

# %%
### BEGIN SOLUTION
stubborn = "abcdefghijklmnopqrstuvwxyz"  # every pair stands in it once
### END SOLUTION

# %%
check("PREFIXb", stubborn)
### BEGIN HIDDEN TESTS
assert len(stubborn) >= 20
### END HIDDEN TESTS

# %% [markdown]
# ## With real text (optional)

# %% tags=["needs-tinyshakespeare"]
if needs("tinyshakespeare"):
    play = byte_tokens(load_dataset("tinyshakespeare")[:10_000])
    print("the commonest pair in 10,000 letters of Shakespeare:", best_pair(count_pairs([(play, 1)])))

# %% [markdown]
# ## What to remember
#
# - A merge takes one token away for each place where its pair stands.
#
# ## Glossary
#
# | English | 한국어 | meaning |
# |---|---|---|
# | byte-pair encoding (BPE) |
# | merge |
# | token |
#
# Next: ...
"""


def skeleton(lesson: Lesson) -> str:
    """The example with a lesson's title, minutes and exercise ids in their places."""
    places = {"TITLE": lesson.title, "MINUTES": str(lesson.minutes), "PREFIX": exercise_prefix(lesson.id)}
    text = TEXT
    for place, value in places.items():
        text = text.replace(place, value)
    return text
