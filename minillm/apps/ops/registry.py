"""A model registry (모델 저장소): numbered versions of a model, the stage of each, and who moved it when and why.

    None -> Staging -> Production -> Archived        Archived -> Staging: going back is a move like any other

Nothing reaches Production that was not in Staging. One version of a model is in Production: the one before is archived
in the same transaction, so that a reader sees one of them, never none or two.

Book: 13.1.3 모델 저장소. Peer: MLflow's registry, which allows every move, and has aliases instead of stages since 2.9;
ours has both.
"""

from __future__ import annotations

from typing import NamedTuple

from minillm._checks import check_choice, check_int, check_text
from minillm.apps.ops.records import Records, check_name, check_records

MOVES = {
    "None": ("Staging", "Archived"),
    "Staging": ("Production", "Archived"),
    "Production": ("Archived",),
    "Archived": ("Staging",),
}


class ModelVersion(NamedTuple):
    """A version: its weights lie under `object` in the records, and came out of `run`."""

    name: str
    version: int
    object: str
    run: str | None
    stage: str


class ModelRegistry:
    """The models of a project."""

    def __init__(self, records: Records) -> None:
        self.records = check_records(records)

    def register(self, name: str, content: bytes, run: str | None = None) -> ModelVersion:
        """A new version, 1 for the first, in stage None. ValueError for a run that there is not."""
        check_name("a model's name", name), run is None or check_text("run", run)
        kept = self.records.put(content)
        with self.records.transaction(write=True) as rows:
            if run is not None and not rows.execute("SELECT 1 FROM runs WHERE id = ?", (run,)).fetchone():
                raise ValueError(f"there is no run {run!r}")
            query = "SELECT coalesce(max(version), 0) + 1 FROM models WHERE name = ?"
            (version,) = rows.execute(query, (name,)).fetchone()
            found = ModelVersion(name, version, kept, run, "None")
            rows.execute("INSERT INTO models VALUES (?, ?, ?, ?, ?)", found)
        return found

    def move(self, name: str, version: int, stage: str, why: str) -> ModelVersion:
        """Move a version to a stage; ValueError for a move that MOVES does not have. Every move is logged."""
        check_choice("stage", stage, tuple(MOVES)), check_text("why", why)
        with self.records.transaction(write=True) as rows:
            checked_move(rows, _one(rows, name, version), stage, why)
            return _one(rows, name, version)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias ("champion") name a version, and no other any more."""
        check_name("alias", alias)
        with self.records.transaction(write=True) as rows:
            one = _one(rows, name, version)
            rows.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (name, alias, one.version))

    def get(self, name: str, version: int | str) -> ModelVersion:
        """By number, or by an alias; ValueError where there is none."""
        check_name("a model's name", name)
        with self.records.transaction() as rows:
            if isinstance(version, str):
                query = "SELECT version FROM aliases WHERE name = ? AND alias = ?"
                found = rows.execute(query, (name, version)).fetchone()
                if found is None:
                    raise ValueError(f"no version of {name!r} has the alias {version!r}")
                (version,) = found
            return _one(rows, name, version)

    def in_stage(self, name: str, stage: str) -> list[ModelVersion]:
        """The versions in a stage, oldest first."""
        check_name("a model's name", name), check_choice("stage", stage, tuple(MOVES))
        query = "SELECT * FROM models WHERE name = ? AND stage = ? ORDER BY version"
        with self.records.transaction() as rows:
            return [ModelVersion(*row) for row in rows.execute(query, (name, stage))]

    def moves(self, name: str) -> list[tuple[int, str, str, str]]:
        """(version, old stage, new stage, why) of every move, oldest first."""
        check_name("a model's name", name)
        query = "SELECT version, old, new, why FROM transitions WHERE name = ? ORDER BY number"
        with self.records.transaction() as rows:
            return rows.execute(query, (name,)).fetchall()


def checked_move(rows, one: ModelVersion, stage: str, why: str) -> None:
    """Move a version inside of a transaction, and archive the one whose place in Production it takes."""
    if stage not in MOVES[one.stage]:
        raise ValueError(
            f"{one.name!r} {one.version} is in {one.stage}: it can move to {MOVES[one.stage]}, not {stage}"
        )
    if stage == "Production":  # the one that is there makes room, in the same transaction
        query = "SELECT * FROM models WHERE name = ? AND stage = 'Production'"
        for row in rows.execute(query, (one.name,)).fetchall():
            checked_move(rows, ModelVersion(*row), "Archived", f"version {one.version} takes its place")
    rows.execute("UPDATE models SET stage = ? WHERE name = ? AND version = ?", (stage, one.name, one.version))
    rows.execute(
        "INSERT INTO transitions (name, version, old, new, why) VALUES (?, ?, ?, ?, ?)",
        (one.name, one.version, one.stage, stage, why),
    )


def _one(rows, name: str, version: int) -> ModelVersion:
    check_name("a model's name", name)
    version = check_int("version", version, 1)
    query = "SELECT * FROM models WHERE name = ? AND version = ?"
    found = rows.execute(query, (name, version)).fetchone()
    if found is None:
        raise ValueError(f"there is no version {version} of {name!r}")
    return ModelVersion(*found)
