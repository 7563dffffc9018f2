# relevit: `make help` lists the targets. Each does its own set-up: Go fetches
# modules, `runtime` fetches ONNX Runtime into the per-user cache.

SHELL := bash
BIN := bin/relevit
TOOLS := bin/tools
STATICCHECK := $(TOOLS)/staticcheck-0.8.2
GOVULNCHECK := $(TOOLS)/govulncheck-1.9.0
CYCLONEDX := $(TOOLS)/cyclonedx-gomod-1.10.0
BUILD := -trimpath
FUZZTIME ?= 20s
FUZZPARALLEL ?= $(shell nproc 2>/dev/null || echo 2)
FUZZ ?= .
# Go's fuzzing now and then reports the end of its own time as a failure.
DEADLINE := ! grep -q 'Failing input' "$$log" && grep -q '^ *context deadline exceeded'

.DEFAULT_GOAL := help
.PHONY: build reproducible sbom demo test race faults e2e bench bench-cuda test-cuda load lint runtime runtime-cuda demo-model fuzz clean help

build: ## build bin/relevit
	go build $(BUILD) -o $(BIN) ./cmd/relevit

reproducible: ## build twice, in two folders and without a cache, and compare the bytes
	@set -e; tmp=$$(mktemp -d); trap 'chmod -R u+w "$$tmp"; rm -rf "$$tmp"' EXIT; \
	for folder in a another/longer; do \
		mkdir -p "$$tmp/$$folder" "$$tmp/cache"; \
		git ls-files -z | tar -c --null -T - | tar -x -C "$$tmp/$$folder"; \
		(cd "$$tmp/$$folder" && GOCACHE="$$tmp/cache" go build $(BUILD) -buildvcs=false -o relevit ./cmd/relevit); \
		rm -rf "$$tmp/cache"; \
	done; \
	sha256sum "$$tmp/a/relevit" "$$tmp/another/longer/relevit"; \
	cmp "$$tmp/a/relevit" "$$tmp/another/longer/relevit" && echo "make reproducible: the same bytes twice"

sbom: runtime $(CYCLONEDX) ## list what the binary is made of, as CycloneDX, into bin/relevit.cdx.json
	$(CYCLONEDX) bin -json -version "$$(git describe --always --dirty)" -output $(BIN).cdx.json $(BIN)
	go run .ci/sbom.go $(BIN) $(BIN).cdx.json

runtime: build ## fetch ONNX Runtime, once
	$(BIN) runtime install

runtime-cuda: build ## fetch ONNX Runtime with CUDA for NVIDIA GPUs (1.3 GB), once
	$(BIN) runtime install --cuda

demo: runtime ## finetune the built-in model on generated pictures, into demo-run/
	rm -rf demo-run
	$(BIN) demo -o demo-run

test: ## run the tests, unit and ort tiers
	@$(MAKE) --no-print-directory runtime || echo "make test: ONNX Runtime is missing, so the tests that need it are skipped"
	@test -d ../shared || echo "make test: there is no ../shared, so the tests on reference tensors and real weights are skipped"
	go test ./...

race: runtime ## run the tests of what starts goroutines under the race detector (minutes)
	go test -race -short -timeout 60m ./onnx/ort ./onnx/passes ./pipeline ./pipeline/dataset ./pipeline/demo ./pipeline/picture/... ./cmd/relevit

FAULTS := $(CURDIR)/bin/faults
SWEEP ?= 100
FAULT_TESTS := TestEveryFault|Interrupt|Signals|Closed|CannotBePrinted|Outlives|FullDisk|DiskErrors|SlowDisk|ReadOnly|WithoutMemory|MemoryIsEstimated|NoNumber|Numbers|Skip|RollingBack|HeldOut|ConstantMaps|Damage|KilledWhileSaving|KilledBatch|SecondProcess
faults: runtime ## kill, signal, fail reads and writes (SWEEP of each command), and print what came of it (20 minutes)
	@rm -f $(FAULTS)
	@code=0; export RELEVIT_FAULTS=$(FAULTS); \
	RELEVIT_KILLS=20 go test -count 5 -timeout 60m -run 'TestRunKilledAnywhere' ./cmd/relevit || code=1; \
	RELEVIT_KILLS=50 go test -count 1 -timeout 60m -run 'TestMasksKilled|TestExportKilled|TestEvaluateKilled' ./cmd/relevit || code=1; \
	RELEVIT_SWEEP=$(SWEEP) go test -count 1 -timeout 120m -run 'TestEveryWriteMayFail|TestEveryReadMayFail' ./cmd/relevit || code=1; \
	go test -count 1 -timeout 60m -run '$(FAULT_TESTS)' ./cmd/relevit ./pipeline || code=1; \
	.ci/faults $(FAULTS) || code=1; exit $$code

e2e: runtime ## run the tests on real weights too (minutes)
	RELEVIT_KILLS=20 go test -tags e2e -timeout 120m ./...

bench: runtime ## print speed and memory beside their limits, and beside PyTorch where it is (minutes)
	go test -tags bench -run 'TestBenchTable|TestBenchLean' -v -count 1 -timeout 60m ./pipeline

load: runtime ## finetune 2,000 steps and evaluate 50,000 pictures, and see that nothing grows (40 minutes; RELEVIT_LOAD_MODEL=small: 2)
	go test -tags bench -run TestLoad -v -count 1 -timeout 180m ./pipeline

bench-cuda: runtime-cuda ## print seconds and memory of a step on the GPU, beside PyTorch (minutes)
	RELEVIT_RUNTIME=$$($(BIN) -q runtime install --cuda) go test -tags bench -run TestBenchCUDA -v -count 1 -timeout 120m ./pipeline
	CUDA_LAUNCH_BLOCKING=1 RELEVIT_RUNTIME=$$($(BIN) -q runtime install --cuda) go test -tags bench -run TestProfileCUDA -v -count 1 -timeout 60m ./pipeline

test-cuda: runtime-cuda ## run the tests that need a GPU
	RELEVIT_RUNTIME=$$($(BIN) -q runtime install --cuda) go test -count 1 -v -run 'CUDA|GPU|Device|WhereverTheyLive|Replayed|Rounded|AStepMoves|GradientsThat|Apart' ./onnx/ort ./pipeline ./cmd/relevit

demo-model: runtime ## train the model that the demo embeds, anew
	go test -tags demomodel -run TestTrainDemoModel -v -count 1 -timeout 60m ./pipeline/demo/

fuzz: ## run the fuzz targets, those whose name or package matches FUZZ, for FUZZTIME each, and count what they did
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; ran=0; execs=0; failed=(); \
	while read -r file name; do \
		echo "$$name in $${file%/*}"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x -parallel $(FUZZPARALLEL) "$${file%/*}" </dev/null 2>&1 | tee "$$log"; \
		test $${PIPESTATUS[0]} = 0 || { $(DEADLINE) "$$log"; } || failed+=("$$name in $${file%/*}"); \
		n=$$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$$log" | tail -1); \
		ran=$$((ran + 1)); execs=$$((execs + $${n:-0})); \
	done < <(grep -rEo --include='*_test.go' 'func Fuzz[A-Za-z0-9_]+' . | sed 's|:func | |' | grep -E '$(FUZZ)' | sort); \
	echo; echo "make fuzz: $$ran targets of $(FUZZTIME) each, $$execs executions, $${#failed[@]} findings"; \
	for f in "$${failed[@]}"; do echo "  $$f"; done; test $${#failed[@]} = 0

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

$(CYCLONEDX):
	GOBIN=$(CURDIR)/$(TOOLS) go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
	mv $(TOOLS)/cyclonedx-gomod $@

$(GOVULNCHECK):
	GOBIN=$(CURDIR)/$(TOOLS) go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	mv $(TOOLS)/govulncheck $@

clean: ## remove what the other targets made here (not the per-user cache)
	rm -rf bin demo-run

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
