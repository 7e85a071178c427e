# The functions on AWS Lambda. Two targets:
#
#   lambda   the default: whatever MLflow can load
#   onnx     for models in ONNX alone, without MLflow, scikit-learn and pandas
#
#   docker build -t ride-predictions:lambda .
#   docker build -t ride-predictions:onnx --target onnx --build-arg MODEL=build/model .
#
# The model comes from S3, or lies in the image, in /opt/model, where MODEL says which it is.
# Needs no BuildKit.

ARG PYTHON=public.ecr.aws/lambda/python:3.13

# --- packages, from the lock ------------------------------------------------------------------

FROM ${PYTHON} AS tools
ARG PIPENV_VERSION=2026.10.3
ENV PIPENV_NOSPIN=1 PIPENV_VENV_IN_PROJECT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m pip install --quiet --root-user-action=ignore pipenv==${PIPENV_VERSION}
WORKDIR /build
COPY Pipfile Pipfile.lock ./
RUN pipenv verify

# Bytecode is made here, because Lambda's root is read-only, and is taken at its word
# (unchecked-hash), because nothing changes there.
FROM tools AS onnx-packages
RUN pipenv sync --categories "packages" \
    && mv .venv/lib/python3.13/site-packages /packages \
    && rm -rf /packages/pip /packages/pip-* /packages/*virtualenv* \
    && python -m compileall -qfj0 --invalidation-mode unchecked-hash /packages -s /packages -p /var/task \
    && chmod -R a+rX /packages

# --- what is ours -----------------------------------------------------------------------------

FROM ${PYTHON} AS code
COPY lambda_function.py archive_function.py /code/
COPY model_service /code/model_service
RUN python -m compileall -qf --invalidation-mode unchecked-hash /code -s /code -p /var/task \
    && chmod -R a+rX /code

FROM ${PYTHON} AS model
ARG MODEL
COPY . /context
RUN mkdir -p /opt/model \
    && if [ -n "${MODEL}" ]; then \
        test -f "/context/${MODEL}/MLmodel" || { echo "There is no MLflow model in ${MODEL}: run make model" >&2; exit 1; }; \
        cp -R "/context/${MODEL}/." /opt/model; \
    fi \
    && chmod -R a+rX /opt/model

# --- the images -------------------------------------------------------------------------------

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

FROM tools AS lambda-packages
RUN pipenv sync --categories "packages pyfunc" \
    && mv .venv/lib/python3.13/site-packages /packages \
    && rm -rf /packages/pip /packages/pip-* /packages/*virtualenv* \
    && python -m compileall -qfj0 --invalidation-mode unchecked-hash /packages -s /packages -p /var/task \
    && chmod -R a+rX /packages

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
