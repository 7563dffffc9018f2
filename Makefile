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

.DEFAULT_GOAL := help
.PHONY: build reproducible sbom demo test race faults e2e bench lint runtime demo-model fuzz clean help

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

sbom: build $(CYCLONEDX) ## list what the binary is made of, as CycloneDX, into bin/relevit.cdx.json
	$(CYCLONEDX) bin -json -version "$$(git describe --always --dirty)" -output $(BIN).cdx.json $(BIN)

runtime: build ## fetch ONNX Runtime, once
	$(BIN) runtime install

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
faults: runtime ## kill, signal, fill disks and take files away, and print what came of it (minutes)
	@rm -f $(FAULTS)
	@code=0; export RELEVIT_FAULTS=$(FAULTS); \
	RELEVIT_KILLS=20 go test -count 5 -timeout 60m -run 'TestRunKilledAnywhere' ./cmd/relevit || code=1; \
	RELEVIT_KILLS=50 go test -count 1 -timeout 60m -run 'TestMasksKilled|TestExportKilled' ./cmd/relevit || code=1; \
	go test -count 1 -timeout 60m -run 'TestEveryFault|Interrupt|Signals|Closed|CannotBePrinted|Outlives|FullDisk|ReadOnly|NoNumber|Numbers|Skip|RollingBack|ConstantMaps|Damage|KilledWhileSaving' ./cmd/relevit ./pipeline || code=1; \
	awk -F '|' 'BEGIN { printf "\n%-56s %5s  %s\n", "FAULT", "TRIED", "OUTCOME" } \
		{ if (!($$1 in n)) order[++k] = $$1; n[$$1] += $$2; if (out[$$1] == "" || $$3 != "nothing lost") out[$$1] = $$3 } \
		END { for (i = 1; i <= k; i++) printf "%-56s %5d  %s\n", order[i], n[order[i]], out[order[i]] }' $(FAULTS); exit $$code

e2e: runtime ## run the tests on real weights too (minutes)
	RELEVIT_KILLS=20 go test -tags e2e -timeout 120m ./...

bench: runtime ## print speed and memory beside their limits, and beside PyTorch where it is (minutes)
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
