"""Operations: versions of data, runs, a model registry, prompts under version, monitoring (MLOps, LLMOps)."""

from minillm._lazy import lazy

_ROOMS = {
    "choosing": ("Option", "break_even_requests", "own_cost", "pareto", "token_cost"),
    "data_versions": ("DataVersions", "Diff", "diff_manifests"),
    "mlflow_export": ("log_to_mlflow",),
    "monitor": ("Alert", "Monitor", "chance_distance"),
    "prompts": ("Prompts",),
    "records": ("Records",),
    "registry": ("ModelRegistry", "ModelVersion"),
    "repeat": ("Recipe", "code_version", "environment", "repeat_run", "train_and_record"),
    "runs": ("Run", "Runs"),
}
# Who only looks up a run waits for no torch.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
