"""Trains, compares, promotes and releases models.

In the following list, each part imports only parts before it: ``data`` (months of rides),
``metrics``, ``drift``, ``model``, ``plan``, ``inputs``, ``reports``, ``registry`` (MLflow),
``pipeline`` (one training run), ``experiments`` and ``commands``.  The features come from
``model_service.features``, so that a model is trained on the same features that the service
computes.
"""
