"""Whether a downloaded model may be run.

A pickle, a custom ``python_model`` and ``code_paths`` are code, and are refused unless allowed.  A
skops file names the types that it needs; they are compared with the list below before MLflow opens
the file, because MLflow itself believes the list that comes with the model.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from .description import Description, PythonFlavour, SklearnFlavour

TRUSTED_TYPES = frozenset(
    {
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
"""The types that a skops file may hold beyond those that skops itself trusts."""


def check_code(description: Description) -> None:
    """Raise `ModelError` if the model is not ONNX and could run code of its own."""
    sklearn = description.sklearn() or SklearnFlavour()
    loader = description.python_function() or PythonFlavour()
    if not description.is_sklearn():
        what = f"its loader is {loader.loader_module}"
    elif sklearn.serialization_format != "skops":
        what = "it is a pickle"
    elif sklearn.code or loader.code:
        what = "it brings code_paths"
    elif loader.data or loader.model_path != sklearn.pickled_model:
        what = "its flavours name different files"
    else:
        return
    raise ModelError(
        f"the model may run code of its own ({what}): log it as ONNX or skops, or set"
        " ALLOW_PICKLED_MODELS=True if you trust whoever made it"
    )


def check_types(file: Path) -> None:
    """Raises `ModelError` where a skops file holds a type that is not trusted."""
    import skops.io

    try:
        unknown = set(skops.io.get_untrusted_types(file=file)) - TRUSTED_TYPES
    except Exception as exc:  # skops raises whatever it stumbles over
        raise ModelError(f"skops cannot read the model: {exc}") from exc
    if unknown:
        raise ModelError(
            f"the model holds types that are not trusted: {', '.join(sorted(unknown))}; log it as"
            " ONNX, or set ALLOW_PICKLED_MODELS=True if you trust whoever made it"
        )
