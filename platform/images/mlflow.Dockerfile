# The tracking server alone, without torch. From the root of the checkout:
#   docker build --file platform/images/mlflow.Dockerfile --tag viral-mlflow:0.1.0 .
FROM python:3.11-slim-bookworm

# boto3 for artifacts in an object store, psycopg2 for PostgreSQL; the version of MLflow is that of requirements.lock.
RUN pip install --no-cache-dir mlflow==3.17.2 boto3 psycopg2-binary \
    && useradd --uid 1000 --create-home mlflow \
    && install --directory --owner=mlflow /mlflow
USER mlflow
EXPOSE 5000
CMD ["mlflow", "server"]
