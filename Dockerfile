# The images of the Lambda functions and of the web service. There are four targets:
#
#   lambda   the default: serves every model that MLflow can load
#   onnx     serves models in ONNX only, without MLflow, scikit-learn and pandas
#   batch    scores files of rides on a schedule, with models in ONNX
#   web      the web service, with models in ONNX
#
#   docker build -t ride-predictions:lambda .
#   docker build -t ride-predictions:onnx --target onnx --build-arg MODEL=build/model .
#   docker build -t ride-predictions:web --target web --build-arg MODEL=build/model \
#     --build-arg COST_MODEL=build/cost-model .
#
# The models of a library that the lock does not have, such as xgboost, need its package in the image
# lambda. Name its version too; the versions of the lock stay:
#
#   docker build -t ride-predictions:lambda --build-arg PACKAGES="xgboost-cpu==3.4.1" .
#
# A model is loaded from S3, or from the image: the build copies the directory MODEL to /opt/model,
# and COST_MODEL to /opt/cost-model.
#
# An image holds the core of model_service (the modules directly inside it), models/, and only those
# other folders that its entry point imports. tests/images/test_dockerfile.py compares this with the
# import table of the architecture test.
#
# The build does not need BuildKit. Without BuildKit, Docker builds all stages above the target, so
# the images that few people build come last.

ARG PYTHON=public.ecr.aws/lambda/python:3.13
ARG SLIM=python:3.13-slim

# --- shared stages ----------------------------------------------------------------------------

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

FROM ${PYTHON} AS core
COPY images/compiled /images/
COPY model_service/*.py model_service/zones.csv /code/model_service/
COPY model_service/models /code/model_service/models/

FROM core AS stream-code
COPY lambda_function.py archive_function.py decision_function.py /code/
COPY model_service/kinesis /code/model_service/kinesis/
COPY model_service/stream /code/model_service/stream/
COPY model_service/archive /code/model_service/archive/
COPY model_service/decisions /code/model_service/decisions/
RUN sh /images/compiled /code /var/task

# --- ride-predictions:onnx --------------------------------------------------------------------

FROM tools AS onnx-packages
RUN sh /images/packages /var/task packages

FROM ${PYTHON} AS onnx
COPY --from=onnx-packages /packages/ ${LAMBDA_TASK_ROOT}/
COPY --from=model /opt/model /opt/model
COPY --from=stream-code /code/ ${LAMBDA_TASK_ROOT}/
CMD ["lambda_function.lambda_handler"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ride-predictions:onnx" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

# --- ride-predictions:lambda ------------------------------------------------------------------

FROM tools AS lambda-packages
ARG PACKAGES
RUN PACKAGES="${PACKAGES}" sh /images/packages /var/task packages pyfunc

FROM ${PYTHON} AS lambda
ENV MLFLOW_DISABLE_TELEMETRY=true
COPY --from=lambda-packages /packages/ ${LAMBDA_TASK_ROOT}/
COPY --from=model /opt/model /opt/model
COPY --from=stream-code /code/ ${LAMBDA_TASK_ROOT}/
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

FROM core AS batch-code
COPY batch_function.py /code/
COPY model_service/datasets /code/model_service/datasets/
COPY model_service/batch /code/model_service/batch/
RUN sh /images/compiled /code /var/task

FROM ${PYTHON} AS batch
COPY --from=batch-packages /packages/ ${LAMBDA_TASK_ROOT}/
COPY --from=model /opt/model /opt/model
COPY --from=batch-code /code/ ${LAMBDA_TASK_ROOT}/
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

FROM core AS web-code
COPY predict.py serve.py gunicorn.conf.py /code/
COPY model_service/kinesis /code/model_service/kinesis/
COPY model_service/decisions /code/model_service/decisions/
COPY model_service/web /code/model_service/web/
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
