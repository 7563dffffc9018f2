# relevit: `make help` lists the targets. Each does its own set-up: Go fetches
# modules, `runtime` fetches ONNX Runtime into the per-user cache.

SHELL := bash
BIN := bin/relevit
TOOLS := bin/tools
STATICCHECK := $(TOOLS)/staticcheck-0.8.2
GOVULNCHECK := $(TOOLS)/govulncheck-1.9.0
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.PHONY: build demo test e2e bench lint runtime demo-model fuzz clean help

build: ## build bin/relevit
	go build -o $(BIN) ./cmd/relevit

runtime: build ## fetch ONNX Runtime, once
	$(BIN) runtime install

demo: runtime ## finetune the built-in model on generated pictures, into demo-run/
	rm -rf demo-run
	$(BIN) demo -o demo-run

test: ## run the tests, unit and ort tiers
	@$(MAKE) --no-print-directory runtime || echo "make test: ONNX Runtime is missing, so the tests that need it are skipped"
	@test -d ../shared || echo "make test: there is no ../shared, so the tests on reference tensors and real weights are skipped"
	go test ./...

e2e: runtime ## run the tests on real weights too (minutes)
	RELEVIT_KILLS=20 go test -tags e2e -timeout 120m ./...

bench: runtime ## print seconds per step and peak memory beside a plain forward
	go test -tags bench -run TestBenchTable -v -count 1 -timeout 60m ./pipeline

demo-model: runtime ## train the model that the demo embeds, anew
	go test -tags demomodel -run TestTrainDemoModel -v -count 1 -timeout 60m ./pipeline/demo/

fuzz: ## run every fuzz target for FUZZTIME
	@grep -rEo --include='*_test.go' 'func Fuzz[A-Za-z0-9_]+' . | sed 's|:func | |' | while read -r file name; do \
		echo "$$name in $${file%/*}"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "$${file%/*}" || exit 1; \
	done

lint: $(STATICCHECK) $(GOVULNCHECK) ## check formatting, vet, staticcheck, imports, known vulnerabilities
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt'd:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags e2e,bench,demomodel ./...
	$(STATICCHECK) -checks inherit,ST1000,ST1016,ST1020,ST1021,ST1022 -tags e2e,bench,demomodel ./...
	TAGS=e2e,bench,demomodel .ci/imports
	@$(GOVULNCHECK) ./...; code=$$?; case $$code in \
		0) ;; \
		3) exit 1 ;; \
		*) echo "make lint: govulncheck could not do its work (exit code $$code); going on without it" ;; \
	esac

$(STATICCHECK):
	GOBIN=$(CURDIR)/$(TOOLS) go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
	mv $(TOOLS)/staticcheck $@

$(GOVULNCHECK):
	GOBIN=$(CURDIR)/$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	mv $(TOOLS)/govulncheck $@

clean: ## remove what the other targets made here (not the per-user cache)
	rm -rf bin demo-run

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
