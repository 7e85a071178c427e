# The functions on AWS Lambda, and the web service. Four targets:
#
#   lambda   the default: whatever MLflow can load
#   onnx     for models in ONNX alone, without MLflow, scikit-learn and pandas
#   batch    the one that runs on a schedule: files of rides, with models in ONNX
#   web      the web service, for models in ONNX
#
#   docker build -t ride-predictions:lambda .
#   docker build -t ride-predictions:onnx --target onnx --build-arg MODEL=build/model .
#   docker build -t ride-predictions:web --target web --build-arg MODEL=build/model \
#     --build-arg COST_MODEL=build/cost-model .
#
# The model comes from S3, or lies in the image, in /opt/model, where MODEL says which it is; that of
# costs in /opt/cost-model, where COST_MODEL does.
# Needs no BuildKit. Without it, all that stands before a target is built, needed or not: what few
# people build stands last.

ARG PYTHON=public.ecr.aws/lambda/python:3.13
ARG SLIM=python:3.13-slim

# --- what goes into them ----------------------------------------------------------------------

FROM ${PYTHON} AS tools
ARG PIPENV_VERSION=2026.10.3
ENV PIPENV_NOSPIN=1 PIPENV_VENV_IN_PROJECT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m pip install --quiet --root-user-action=ignore pipenv==${PIPENV_VERSION}
WORKDIR /build
COPY Pipfile Pipfile.lock ./
RUN pipenv verify
COPY images/packages images/compiled /images/

FROM ${PYTHON} AS model
COPY images/model /images/
COPY . /context
ARG MODEL
RUN sh /images/model "${MODEL}" /opt/model
ARG COST_MODEL
RUN sh /images/model "${COST_MODEL}" /opt/cost-model

FROM ${PYTHON} AS code
COPY images/compiled /images/
COPY lambda_function.py archive_function.py batch_function.py /code/
COPY model_service /code/model_service
RUN sh /images/compiled /code /var/task

# --- ride-predictions:onnx --------------------------------------------------------------------

FROM tools AS onnx-packages
RUN sh /images/packages /var/task packages

FROM ${PYTHON} AS onnx
COPY --from=onnx-packages /packages/ ${LAMBDA_TASK_ROOT}/
COPY --from=model /opt/model /opt/model
COPY --from=code /code/ ${LAMBDA_TASK_ROOT}/
CMD ["lambda_function.lambda_handler"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ride-predictions:onnx" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# --- ride-predictions:lambda ------------------------------------------------------------------

FROM tools AS lambda-packages
RUN sh /images/packages /var/task packages pyfunc

FROM ${PYTHON} AS lambda
ENV MLFLOW_DISABLE_TELEMETRY=true
COPY --from=lambda-packages /packages/ ${LAMBDA_TASK_ROOT}/
COPY --from=model /opt/model /opt/model
COPY --from=code /code/ ${LAMBDA_TASK_ROOT}/
CMD ["lambda_function.lambda_handler"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ride-predictions:lambda" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# --- ride-predictions:batch -------------------------------------------------------------------

FROM tools AS batch-packages
RUN sh /images/packages /var/task packages batch

FROM ${PYTHON} AS batch
COPY --from=batch-packages /packages/ ${LAMBDA_TASK_ROOT}/
COPY --from=model /opt/model /opt/model
COPY --from=code /code/ ${LAMBDA_TASK_ROOT}/
CMD ["batch_function.lambda_handler"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ride-predictions:batch" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# --- ride-predictions:web ---------------------------------------------------------------------

FROM tools AS web-packages
RUN sh /images/packages /srv packages web

FROM ${PYTHON} AS web-code
COPY images/compiled /images/
COPY predict.py serve.py gunicorn.conf.py /code/
COPY model_service /code/model_service
RUN sh /images/compiled /code /srv

FROM ${SLIM} AS web
ARG MODEL
ARG COST_MODEL
ENV BIND=0.0.0.0:9696 PYTHONDONTWRITEBYTECODE=1 \
    MODEL_LOCATION=${MODEL:+/opt/model} COST_MODEL_LOCATION=${COST_MODEL:+/opt/cost-model}
WORKDIR /srv
COPY --from=web-packages /packages/ ./
COPY images/healthy /usr/local/bin/
COPY --from=model /opt/model /opt/model
COPY --from=model /opt/cost-model /opt/cost-model
COPY --from=web-code /code/ ./
USER 10001:10001
EXPOSE 9696
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "/usr/local/bin/healthy"]
CMD ["python", "serve.py"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ride-predictions:web" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# --- the default ------------------------------------------------------------------------------

FROM lambda
