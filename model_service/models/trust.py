"""Checks whether a downloaded model can be trusted, before it runs.

A pickle, a custom ``python_model`` and ``code_paths`` can run any code, so they are refused unless
the settings allow them.  A skops file names the types that it needs.  These types are compared with
the list below before MLflow opens the file, because MLflow would trust the list in the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelError

TRUSTED_TYPES = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
"""The types that a skops file may contain, besides those that skops itself trusts."""


def check_code(mlmodel: dict[str, Any], flavour: str) -> None:
    """Raise `ModelError` if loading this *flavour* of a model could run code from the model."""
    sklearn = mlmodel["flavors"].get("sklearn", {})
    loader = mlmodel["flavors"]["python_function"]
    if flavour != "sklearn":
        what = f"its loader is {str(loader.get('loader_module'))[:80]}"
    elif sklearn.get("serialization_format") != "skops":
        what = "it is a pickle"
    elif sklearn.get("code") or loader.get("code"):
        what = "it brings code_paths"
    elif loader.get("data") or loader.get("model_path") != sklearn.get("pickled_model"):
        what = "its flavours name different files"
    else:
        return
    raise ModelError(
        f"the model may run code of its own ({what}): log it as ONNX or skops, or set"
        " ALLOW_PICKLED_MODELS=True if you trust whoever made it"
    )


def check_types(file: Path) -> None:
    """Raise `ModelError` if a skops file contains a type that is not trusted, or is malformed."""
    import skops.io

    try:
        unknown = set(skops.io.get_untrusted_types(file=file)) - TRUSTED_TYPES
    except Exception as exc:  # skops may raise any exception on a malformed file
        raise ModelError(f"skops cannot read the model: {exc}") from exc
    if unknown:
        raise ModelError(
            f"the model holds types that are not trusted: {', '.join(sorted(unknown))}; log it as"
            " ONNX, or set ALLOW_PICKLED_MODELS=True if you trust whoever made it"
        )
