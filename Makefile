# The one task runner. `make` alone lists what there is; nothing here needs a flag.

.POSIX:
.PHONY: help run preview test test-full lint bench bench-full docs sdk miniprogram pictures release lock clean
.NOTPARALLEL:

# Parsers of other libraries, for bench/sse_parsers.py; in a folder of their own, which only the bench's runs look into.
BENCH_PEERS = .venv/bin/python -m pip install -q --no-deps --upgrade --target .bench/parsers anthropic==2.14.0 docstring_parser sseclient-py==1.9.0 launchdarkly-eventsource==1.7.4
# An engine for bench/js_parsers.py, which tells where it is missing: not every Python has a wheel of it.
BENCH_ENGINE = .venv/bin/python -m pip install -q --no-deps --upgrade --only-binary :all: --target .bench/parsers quickjs==1.19.4 2>/dev/null || true

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: ## serve the embedded model, or the one that OPENAI_BASE_URL names, at 127.0.0.1:8000
	@sh scripts/setup run
	@exec .venv/bin/dazi serve

preview: ## run the mini program of examples/, or of APP=folder, in a browser at 127.0.0.1:8100
	@exec bash scripts/preview

test: ## run the tests, a real browser included
	@sh scripts/setup test
	@bash scripts/system-packages
	@bash scripts/test

test-full: ## run every test, the long ones too; SEED=n repeats an earlier run
	@sh scripts/setup test
	@bash scripts/system-packages
	@bash scripts/test-full

lint: ## check style, formatting, types and the floors
	@sh scripts/setup test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-logo

bench: ## measure Dazi beside its peers, in about a quarter of an hour; tables and plots in bench/results
	@sh scripts/setup test
	@bash scripts/system-packages
	@$(BENCH_PEERS)
	@$(BENCH_ENGINE)
	@.venv/bin/python bench/gateway.py --install-litellm
	@for script in fanout soak sse_parsers js_parsers; do echo "== $$script"; PYTHONPATH=.bench/parsers .venv/bin/python "bench/$$script.py" || exit 1; done

bench-full: ## measure everything, at length
	@sh scripts/setup test
	@bash scripts/system-packages
	@$(BENCH_PEERS)
	@$(BENCH_ENGINE)
	@.venv/bin/python bench/gateway.py --install-litellm --full
	@.venv/bin/python bench/soak.py --generations 100000
	@for script in bench/*.py; do case $$script in */gateway.py|*/soak.py) ;; *) echo "== $$script"; PYTHONPATH=.bench/parsers .venv/bin/python "$$script" || exit 1;; esac; done

docs: ## check the documents' links and anchors, and build their site into build/site
	@sh scripts/setup test
	@.venv/bin/python scripts/check_docs.py
	@.venv/bin/python scripts/build_site.py
	@echo "The site is in build/site. To read it at http://127.0.0.1:8200: .venv/bin/python -m http.server --bind 127.0.0.1 --directory build/site 8200"

sdk: ## build the TypeScript SDK into sdk/dist and sdk/miniprogram_dist
	@test -f sdk/package.json || { echo "make sdk: there is no sdk/package.json, so there is nothing to build." >&2; exit 1; }
	@command -v npm >/dev/null || { echo "make sdk: npm is missing; install Node.js 20 or newer." >&2; exit 1; }
	@cd sdk && npm ci --silent --no-audit --no-fund && npm run --silent build

miniprogram: ## build the example mini program into examples/miniprogram/dist, for WeChat DevTools
	@bash scripts/build-miniprogram

pictures: ## take the pictures of the documents anew, of the programs themselves
	@sh scripts/setup test
	@bash scripts/system-packages
	@.venv/bin/python scripts/screenshots.py
	@.venv/bin/python scripts/pictures.py

release: ## build the wheel and the npm package into dist/, and try both from clean places
	@sh scripts/setup test
	@bash scripts/release

lock: ## pin the newest versions of all dependencies in constraints.txt
	@sh scripts/lock

clean: ## remove .venv and everything else that was made here
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@rm -rf preview/node_modules sdk/node_modules sdk/dist sdk/miniprogram_dist tests/foreign/node_modules examples/miniprogram/node_modules examples/miniprogram/dist
	@find src tests bench scripts examples -name __pycache__ -type d -prune -exec rm -rf {} +
