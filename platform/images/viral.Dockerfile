# Every node of a cluster, jobs and server alike. From the root of the checkout:
#   docker build --file platform/images/viral.Dockerfile --tag viral:0.1.0 .
# The GPU's libraries come with torch; the host needs NVIDIA's driver and container toolkit.
FROM python:3.11-slim-bookworm

# wget is what KubeRay's probes call; the compiler is what DeepSpeed builds its operators with.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential git libgl1 libglib2.0-0 wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home ray
WORKDIR /home/ray/viral

# The dependencies change seldom: a layer of their own, every file checked against its hash.
COPY requirements.lock .
RUN awk '/^uv==/{p=1} p{print} p&&!/\\$/{exit}' requirements.lock > /tmp/uv.txt \
    && pip install --no-cache-dir --require-hashes --requirement /tmp/uv.txt \
    && uv pip sync --system --no-cache --compile-bytecode --require-hashes requirements.lock

COPY --chown=ray . .
RUN uv pip install --system --no-cache --no-deps --editable .

# Serve's replicas find serve.app on the path, its proxies what words their errors; a model that someone registered is
# never unpickled.
ENV PYTHONPATH=/home/ray/viral \
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serve.proxy:middlewares \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false \
    RAY_USAGE_STATS_ENABLED=0
USER ray
