package ort

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestAPIPositions compares the positions in our C files with the order of OrtApi in
// the header that the Go binding comes with.
func TestAPIPositions(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Skipf("needs the binding's header: %v", err)
	}
	_, body, _ := strings.Cut(string(header), "\nstruct OrtApi {")
	body, _, _ = strings.Cut(body, "\n};")
	body = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`).ReplaceAllString(body, "")
	member := regexp.MustCompile(`ORT_API2_STATUS\(\s*(\w+)|ORT_CLASS_(RELEASE2?)\((\w+)|\(\s*ORT_API_CALL\s*\*\s*(\w+)\s*\)|ORT_API_T\([^,]+,\s*(\w+)`)
	position := map[string]int{}
	for i, m := range member.FindAllStringSubmatch(body, -1) {
		name := m[1] + m[4] + m[5]
		if m[2] != "" {
			name = "Release" + m[3]
		}
		position[name] = i
	}
	var ours [][]string
	for _, name := range []string{"api.c", "rows_op.c"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, enum, _ := strings.Cut(string(source), "enum position {")
		enum, _, _ = strings.Cut(enum, "};")
		ours = append(ours, regexp.MustCompile(`(\w+) = (\d+),`).FindAllStringSubmatch(enum, -1)...)
	}
	if len(ours) < 40 || len(position) < 400 {
		t.Fatalf("read %d positions of ours and %d of the header", len(ours), len(position))
	}
	for _, m := range ours {
		if want, ok := position[m[1]]; !ok || strconv.Itoa(want) != m[2] {
			t.Errorf("%s is at %s, the header has it at %d", m[1], m[2], want)
		}
	}
}
