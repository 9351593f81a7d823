# Everything a newcomer types. `make demo` and `make test` set up all they need.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
IMAGES ?=
PHOTOS ?=
CONFIG ?= jobs/configs/tiny.yaml
OVERRIDES := $(if $(IMAGES),images=$(IMAGES) storage=runs/$(notdir $(abspath $(IMAGES))))

.PHONY: setup demo serve test chaos check format bench bench-gpu bench-growth pretrain pretrain-fill lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else f"Python 3.11 or 3.12 is needed, this is {sys.version.split()[0]}; try make PYTHON=python3.11")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/{p=1} p{print} p&&!/\\$$/{exit}' requirements.lock > $(VENV)/uv.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(VENV)/bin/uv pip sync --compile-bytecode --python $(RUN) --require-hashes requirements.lock
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --no-deps --editable .
	@touch $(READY)

demo: setup ## photographs -> pairs -> latents -> adapter -> scores -> registry -> an analogy over HTTP
	$(RUN) jobs/run_pipeline.py $(CONFIG) $(OVERRIDES)

serve: setup ## keep the registered champion answering over HTTP, that of IMAGES=dir where the demo had one
	$(RUN) jobs/serve_adapter.py $(CONFIG) $(OVERRIDES)

test: setup
	$(RUN) -m pytest tests --ignore=tests/chaos

chaos: setup ## long kills and corruptions, each file with a Ray of its own: two on a machine fight for the agent's port
	@failed=; for file in tests/chaos/test_*.py; do $(RUN) -m pytest $$file || failed="$$failed $$file"; done; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

format: setup
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: setup ## speed against peers, one row with ONLY=C1
	$(RUN) tests/benchmarks/bench.py $(if $(ONLY),--only $(ONLY))

bench-growth: setup ## how costs grow, drawn into docs/performance/
	$(RUN) tests/benchmarks/growth.py

bench-gpu: ## full width on one GPU; installs what it needs beside the torch that is there
	@test -x .venv-gpu/bin/python || $(PYTHON) -m venv --system-site-packages .venv-gpu
	@.venv-gpu/bin/python -m pip install --quiet torch diffusers==0.42.1 peft==0.21.2 einops jaxtyping pydantic pyyaml
	.venv-gpu/bin/python tests/benchmarks/gpu.py $(if $(ONLY),--only $(ONLY))

pretrain: JOB = pretrain_tiny
pretrain-fill: JOB = pretrain_fill
pretrain pretrain-fill: setup ## remake the small base model, or the small Fill: make pretrain PHOTOS=dir
	$(RUN) -m torch.distributed.run --standalone --local-addr=localhost --nproc-per-node=2 jobs/$(JOB).py $(PHOTOS)

lock: ## resolve requirements.lock anew, for 3.11 and 3.12, without addresses
	$(VENV)/bin/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

clean:
	rm -rf runs
