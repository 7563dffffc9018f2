// Adds the ONNX Runtime library that relevit loads to the CycloneDX list of the
// Go modules that it is built of:
//
//	go run .ci/sbom.go bin/relevit bin/relevit.cdx.json
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom RELEVIT LIST.json")
		os.Exit(2)
	}
	if err := add(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func add(relevit, list string) error {
	said, err := exec.Command(relevit, "--json", "runtime", "info").Output()
	if err != nil {
		return fmt.Errorf("%s runtime info: %w", relevit, err)
	}
	var library struct{ Path, Version string }
	if err := json.Unmarshal(said, &library); err != nil {
		return err
	}
	data, err := os.ReadFile(library.Path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	var bom map[string]any
	if err := json.Unmarshal(text, &bom); err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	components, _ := bom["components"].([]any)
	dependencies, _ := bom["dependencies"].([]any)
	if len(components) == 0 || len(dependencies) == 0 {
		return fmt.Errorf("%s: no components and dependencies", list)
	}
	ref := "pkg:generic/onnxruntime@" + library.Version
	bom["components"] = append(components, map[string]any{
		"bom-ref": ref, "purl": ref, "type": "library", "name": "libonnxruntime", "version": library.Version, "scope": "required",
		"description":        "loaded at run time as " + filepath.Base(library.Path),
		"hashes":             []any{map[string]any{"alg": "SHA-256", "content": fmt.Sprintf("%x", sha256.Sum256(data))}},
		"licenses":           []any{map[string]any{"license": map[string]any{"id": "MIT"}}},
		"externalReferences": []any{map[string]any{"type": "vcs", "url": "https://github.com/microsoft/onnxruntime"}},
	})
	bom["dependencies"] = append(dependencies, map[string]any{"ref": ref})
	if !dependsOn(dependencies, bom, ref) {
		return errors.New("the list has no dependencies of relevit itself")
	}
	if text, err = json.MarshalIndent(bom, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(list, append(text, '\n'), 0o666)
}

// dependsOn lets the program that the list is of depend on ref.
func dependsOn(dependencies []any, bom map[string]any, ref string) bool {
	metadata, _ := bom["metadata"].(map[string]any)
	component, _ := metadata["component"].(map[string]any)
	for _, d := range dependencies {
		if d, _ := d.(map[string]any); d["ref"] == component["bom-ref"] {
			list, _ := d["dependsOn"].([]any)
			d["dependsOn"] = append(list, ref)
			return true
		}
	}
	return false
}
