"""Training of models, in the order of the data: each part imports only those before it.

``data`` (months of rides), ``metrics``, ``drift``, ``model``, ``plan``, ``inputs``, ``reports``,
``registry`` (MLflow), ``pipeline`` (one training run), ``experiments`` and ``commands``.  Features
come from ``model_service.features``, so that a model is trained on what the service computes.
"""
