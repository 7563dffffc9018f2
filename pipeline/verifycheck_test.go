package pipeline

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/ort/orttest"
)

// otherThanONNXChecker says where soundness and onnx.checker differ, and why
// that is right.
var otherThanONNXChecker = map[string]string{
	"opset-twice":                   "onnx.checker takes the last import; runtimes differ in which",
	"node-name-twice":               "ONNX Runtime refuses such a file",
	"function-with-too-many-inputs": "ONNX Runtime refuses such a file",
	"graph-without-a-name":          "no runtime reads the name: it is a remark",
}

// TestSoundnessAgreesWithONNXChecker holds soundness against the verdicts of
// onnx.checker on small models, most of them broken in one place.
func TestSoundnessAgreesWithONNXChecker(t *testing.T) {
	list, err := os.Open("testdata/checked/verdicts.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	for lines := bufio.NewScanner(list); lines.Scan(); {
		name, verdict, _ := strings.Cut(lines.Text(), "\t")
		t.Run(name, func(t *testing.T) {
			var faults []string
			m, d, err := onnx.ReadModel(filepath.Join("testdata/checked", name+".onnx"))
			if err == nil {
				faults, _, _, err = soundness(m, d)
			}
			if err != nil {
				faults = []string{err.Error()}
			}
			t.Logf("%q; onnx.checker: %s", faults, verdict)
			if agree := (len(faults) == 0) == (verdict == "sound"); agree == (otherThanONNXChecker[name] != "") {
				t.Errorf("onnx.checker says %q, soundness %q", verdict, faults)
			}
		})
	}
}

// outOfOrder are files of a float16 converter that puts its casts at the end,
// which ONNX's rules forbid and ONNX Runtime allows.
var outOfOrder = []string{"fp16-io-14", "fp16-islands-20"}

// TestZooIsSound verifies every foreign ONNX file alone: exporters write sound
// files, the second reader agrees, and ONNX Runtime gives what the float64
// evaluator does, to 1e-4, or in float16 to 2 of its smallest steps.
func TestZooIsSound(t *testing.T) {
	orttest.Need(t)
	files, err := filepath.Glob("testdata/zoo/*/model.onnx")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			v, err := Verify(context.Background(), path, "", VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			m := v.Models[0]
			if slices.Contains(outOfOrder, name) {
				if v.Verdict != VerdictFaulty || !strings.Contains(v.Faults[0], "out of order") {
					t.Errorf("%q: %q", v.Verdict, v.Faults)
				}
				return
			}
			far := 1e-4
			if strings.HasPrefix(name, "fp16") {
				far = 2 * 0x1p-10
			}
			if v.Verdict != VerdictSound || m.ReadTwice == 0 && m.Initializers > len(m.Unread) {
				t.Errorf("%q: %q, not read twice %q", v.Verdict, v.Faults, m.Unread)
			}
			if len(m.Reference) == 0 {
				t.Errorf("not evaluated: %s; %q", m.ReferenceSkipped, m.Remarks)
			}
			for _, r := range m.Reference {
				if float64(r.MaxRel) > far {
					t.Errorf("ONNX Runtime against the evaluator: %+v", r)
				}
			}
			t.Logf("%q", m.Remarks)
		})
	}
}
