# The functions on AWS Lambda. Three targets:
#
#   lambda   the default: whatever MLflow can load
#   onnx     for models in ONNX alone, without MLflow, scikit-learn and pandas
#   batch    the one that runs on a schedule: files of rides, with models in ONNX
#
#   docker build -t ride-predictions:lambda .
#   docker build -t ride-predictions:onnx --target onnx --build-arg MODEL=build/model .
#
# The model comes from S3, or lies in the image, in /opt/model, where MODEL says which it is.
# Needs no BuildKit. Without it, all that stands before a target is built, needed or not: what few
# people build stands last.

ARG PYTHON=public.ecr.aws/lambda/python:3.13

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

# --- the default ------------------------------------------------------------------------------

FROM lambda
