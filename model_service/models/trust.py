"""Checks whether a downloaded model can be trusted, before it runs.

A pickle, a custom ``python_model`` and ``code_paths`` can run any code, so they are refused unless
the settings allow them.  A skops file names the types that it needs.  These types are compared with
the list below before MLflow opens the file, because MLflow would trust the list in the model.
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
"""The types that a skops file may contain, in addition to those that skops itself trusts."""


def check_code(description: Description) -> None:
    """Raise `ModelError` if *description*, of a model that is not ONNX, allows code of its own."""
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
    """Raise `ModelError` if the skops file *file* is malformed or contains an untrusted type."""
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
