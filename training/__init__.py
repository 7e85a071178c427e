"""Turn rides into a model.

Read it in the order of the work: ``download`` (what the TLC publishes; ``transfer`` is one file
over HTTP, and ``notes`` say what need not come again), ``data`` (rides of a month) or
``simulation`` (where there is no data), ``fit``, ``export``, ``tracking``, and ``run``, which puts
them in sequence for the ``months`` of a ``plan``.  Features come from ``model_service.features``,
so a model is trained on what it will be asked; ``schema`` is what is known of the TLC's files,
``quality`` which rides are kept.

Then come ``report``, which leaves figures, ``pictures`` and a model ``card`` with the run, and
``lifecycle``: the ``promotion`` of a candidate that wins a ``contest`` on the same rides, the
``registry`` of champions, the ``release`` of one, ``drift`` and the ``backtest``.
"""
