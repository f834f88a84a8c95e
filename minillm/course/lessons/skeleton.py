"""The form every lesson has (see CONTRIBUTING.md), as the text file that `author new` starts from."""

from minillm.course.lessons.ids import exercise_prefix
from minillm.course.lessons.map import Lesson

TEXT = """# %% [markdown]
# # TITLE
#
# **N장 책의 장 제목** · N.N 절 제목 · MINUTES minutes on two cores
#
# At the end you will have built ... and know why ...

# %%
from minillm.course import check, setup, show

setup()

# %% [markdown]
# ## The problem
#
# Two sentences, and a picture or a number that hurts.

# %% [markdown]
# ## Build
#
# What the next piece does, and the formula it computes.

# %%
show(setup)

# %% [markdown]
# ## Prove
#
# Equal to the formula, to PyTorch's own, to the slow path: an assert and a printed line.

# %% [markdown]
# ## Measure
#
# Numbers that differ between machines: tag the cell, and let the next one assert the claim.

# %% tags=["nbval-ignore-output"]
before, after = 2.0, 1.0
print(f"before {before:.2f}, after {after:.2f}")

# %%
assert after < before
print("the second is smaller:", after < before)

# %% [markdown]
# ## Exercises

# %% tags=["exercise-setup"]
# Imports and data the exercises need. Exercises run after the set-up cell and cells with this tag alone.
numbers = [3, 1, 2]

# %% [markdown]
# ### Exercise PREFIXa · Title (2 points)
#
# What to predict, build or break.


# %%
def answer_a(values):
    ### BEGIN SOLUTION
    return sorted(values)
    ### END SOLUTION


# %%
check("PREFIXa", answer_a)
### BEGIN HIDDEN TESTS
assert answer_a([]) == []
### END HIDDEN TESTS

# %% [markdown]
# ## What to remember
#
# - ...
#
# ## Glossary
#
# | English | 한국어 | meaning |
# |---|---|---|
# | token | 토큰 | ... |
#
# Next: ...
"""


def skeleton(lesson: Lesson) -> str:
    """The skeleton with a lesson's title, minutes and exercise ids in their places."""
    places = {"TITLE": lesson.title, "MINUTES": str(lesson.minutes), "PREFIX": exercise_prefix(lesson.id)}
    text = TEXT
    for place, value in places.items():
        text = text.replace(place, value)
    return text
