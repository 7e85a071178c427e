"""Writes the champion in MLflow's format: one directory with the flavours ``onnx`` and ``sklearn``.

The service loads ``onnx``, for which it needs only onnxruntime.  MLflow's own tools load
``sklearn``, which is saved by skops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from sklearn.base import RegressorMixin

from model_service.models.description import TrainingRides

from ..data.dataset import Target
from ..model.champion import INPUTS

GRAPH_FILE = "model.onnx"
TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
"""The types in the scikit-learn model that skops does not trust by default."""
REQUIREMENTS = ("mlflow", "scikit-learn", "skops", "pandas", "numpy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class TwoFlavourModel:
    """A model as an ONNX graph and as a scikit-learn estimator.

    This is a class because MLflow calls the method ``save_model`` of a flavour.
    """

    target: Target
    estimator: RegressorMixin
    graph: bytes
    training: TrainingRides
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    """Name -> content of the files that MLflow stores in the model's ``extra_files``."""

    def save_model(self, path: str, mlflow_model: Any) -> None:
        """Write the directory of the model to *path*."""
        import mlflow.sklearn

        with TemporaryDirectory() as scratch:
            extra = [Path(scratch, name) for name in self.extra_files]
            for file in extra:
                file.write_bytes(self.extra_files[file.name])
            mlflow.sklearn.save_model(
                self.estimator,
                path,
                mlflow_model=mlflow_model,
                serialization_format="skops",
                skops_trusted_types=TRUSTED,
                signature=_signature(),
                pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
                extra_files=[str(file) for file in extra] or None,
                metadata={
                    "target": self.target,  # the service compares it with its own target
                    "training_rides": msgspec.to_builtins(self.training),  # for the riders' page
                },
            )
        (Path(path) / GRAPH_FILE).write_bytes(self.graph)
        mlflow_model.add_flavor("onnx", data=GRAPH_FILE, onnx_version=version("onnx"))
        mlflow_model.save(str(Path(path) / "MLmodel"))


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs = [ColSpec("float", name) for name in INPUTS]
    return ModelSignature(Schema(inputs), Schema([TensorSpec(np.dtype(np.float64), (-1,))]))
