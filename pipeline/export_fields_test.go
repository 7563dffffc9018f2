package pipeline

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/relevit/relevit/models/safetensors"
	"github.com/relevit/relevit/onnx"
	"github.com/relevit/relevit/onnx/passes"
)

// protoField is one field of a message as it lies in a file.
type protoField struct {
	num protowire.Number
	raw []byte // with tag and length
	val []byte // without, of a field with a length
}

func protoFields(t *testing.T, data []byte) []protoField {
	t.Helper()
	var out []protoField
	for len(data) > 0 {
		num, wire, n := protowire.ConsumeTag(data)
		m := protowire.ConsumeFieldValue(num, wire, data[max(n, 0):])
		if n < 0 || m < 0 {
			t.Fatalf("no protobuf: %x", data[:min(20, len(data))])
		}
		f := protoField{num: num, raw: data[:n+m]}
		if wire == protowire.BytesType {
			f.val, _ = protowire.ConsumeBytes(data[n:])
		}
		out = append(out, f)
		data = data[n+m:]
	}
	return out
}

// fieldText is the last field of a number.
func fieldText(t *testing.T, message []byte, num protowire.Number) string {
	text := ""
	for _, f := range protoFields(t, message) {
		if f.num == num {
			text = string(f.val)
		}
	}
	return text
}

// protoDiff lists the paths of fields that differ between two messages. Fields
// that hold messages are told by the schema of their path.
func protoDiff(t *testing.T, path string, a, b []byte, messages map[string]bool) []string {
	t.Helper()
	x, y := protoFields(t, a), protoFields(t, b)
	var out []string
	seen := map[protowire.Number]int{}
	for i := range max(len(x), len(y)) {
		if i >= len(x) || i >= len(y) || x[i].num != y[i].num {
			if i < len(y) {
				out = append(out, fmt.Sprintf("%s/%d added", path, y[i].num))
			} else {
				out = append(out, path+" lacks fields")
			}
			continue
		}
		kind := fmt.Sprintf("%s/%d", kindOf(path), x[i].num)
		at := fmt.Sprintf("%s/%d[%d]", path, x[i].num, seen[x[i].num])
		seen[x[i].num]++
		switch {
		case bytes.Equal(x[i].raw, y[i].raw):
		case messages[kind]:
			out = append(out, protoDiff(t, at, x[i].val, y[i].val, messages)...)
		default:
			out = append(out, at)
		}
	}
	return out
}

// kindOf is a path without its indices.
func kindOf(path string) string {
	var s strings.Builder
	for _, part := range strings.Split(path, "[") {
		if _, rest, ok := strings.Cut(part, "]"); ok {
			part = rest
		}
		s.WriteString(part)
	}
	return s.String()
}

// Fields of onnx.proto: the graph's nodes, their attributes, the tensors there;
// initializers; the model's metadata; a branch and one within it, each with its
// nodes and initializers.
var protoMessages = map[string]bool{"/7": true, "/7/1": true, "/7/1/5": true, "/7/1/5/5": true, "/7/5": true, "/14": true,
	branch: true, branch + "/5": true, branch + "/1": true, branch + "/1/5": true, branch + "/1/5/6": true, branch + "/1/5/6/5": true}

const branch = "/7/1/5/6"

// Data fields of a TensorProto.
var tensorData = []string{"/4", "/5", "/7", "/9", "/10", "/11"}

// finetunedRun is a run of a model whose parameters are all three quarters of
// what they were. It returns their names too.
func finetunedRun(t *testing.T, source string) (*Run, map[string]bool) {
	t.Helper()
	run := newRun(t)
	m, d, err := onnx.ReadModel(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFile(run.Artifact(sourceArtifact)); err != nil {
		t.Fatal(err)
	}
	g, err := passes.Prepare(m)
	if err != nil {
		t.Fatal(err)
	}
	c, names := &Checkpoint{}, map[string]bool{}
	for _, p := range passes.Parameters(g) {
		values, err := p.Data.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			values[i] *= 0.75
		}
		c.Parameters = append(c.Parameters, safetensors.Named{Name: p.Name, Tensor: onnx.FloatTensor(values, p.Data.Dims...)})
		names[p.Name] = true
	}
	if err := run.SaveCheckpoint(Best, c); err != nil {
		t.Fatal(err)
	}
	return run, names
}

// exportVariants writes a model in further forms: weights in float16, as inputs
// of the graph, in Constant nodes, and in a data file.
func exportVariants(t *testing.T, source string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, change := range map[string]func(*onnx.Model) onnx.WriteOptions{
		"float16": func(m *onnx.Model) onnx.WriteOptions {
			if _, err := passes.ToFloat16(m.Graph, passes.HalfOptions{}); err != nil {
				t.Fatal(err)
			}
			return onnx.WriteOptions{}
		},
		"inputs": func(m *onnx.Model) onnx.WriteOptions {
			m.Graph.Inputs = append(m.Graph.Inputs, m.Graph.Inits...)
			return onnx.WriteOptions{}
		},
		"constants": func(m *onnx.Model) onnx.WriteOptions {
			var nodes []*onnx.Node
			for _, v := range m.Graph.Inits {
				n := &onnx.Node{Op: "Constant", Name: v.Name, Outputs: []*onnx.Value{v}, Attrs: []onnx.Attr{{Name: "value", Value: v.Data}}}
				v.Node, v.Data = n, nil
				nodes = append(nodes, n)
			}
			m.Graph.Inits, m.Graph.Nodes = nil, append(nodes, m.Graph.Nodes...)
			return onnx.WriteOptions{}
		},
		"external": func(*onnx.Model) onnx.WriteOptions {
			return onnx.WriteOptions{External: "weights.bin", ExternalThreshold: 64}
		},
	} {
		m, _, err := onnx.ReadModel(source)
		if err != nil {
			t.Fatal(err)
		}
		if m.Graph, err = passes.Raised(m); err != nil {
			t.Fatal(err)
		}
		setOpset(m, onnx.Dialect)
		options := change(m)
		out[name] = filepath.Join(t.TempDir(), "model.onnx")
		if err := onnx.WriteModel(out[name], m, options); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestExportDiffersInTrainedBytesAndMetadataOnly compares the files' protobufs
// field by field, by a reader of its own, for every exporter's spelling.
func TestExportDiffersInTrainedBytesAndMetadataOnly(t *testing.T) {
	sources := exportVariants(t, "testdata/zoo/timm-torchscript-17/model.onnx")
	for _, c := range zooModels(t) {
		sources[c.name] = c.source
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			run, trained := finetunedRun(t, source)
			e := export(t, run.Dir, "out.onnx", ExportOptions{})
			changed := changedFields(t, run.Artifact(sourceArtifact), e.Path)
			for name := range changed {
				if !trained[name] {
					t.Errorf("%s wasn't trained and has other bytes", name)
				}
			}
			if name == "external" {
				before, _, err := fileSum(filepath.Join(filepath.Dir(run.Artifact(sourceArtifact)), "weights.bin"))
				if err != nil {
					t.Fatal(err)
				}
				if after, _, err := fileSum(filepath.Join(filepath.Dir(e.Path), "weights.bin")); err != nil || after == before {
					t.Errorf("the data file has no new values (%v)", err)
				}
			} else if len(changed) < len(trained)*9/10 { // zeros stay zeros
				t.Errorf("%d of %d parameters have new values", len(changed), len(trained))
			}
		})
	}
}

// changedFields are the names of tensors whose data differ between two files;
// but for those, and what is added to the metadata, the fields must be equal.
func changedFields(t *testing.T, source, exported string) map[string]bool {
	t.Helper()
	before, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(exported)
	if err != nil {
		t.Fatal(err)
	}
	changed := map[string]bool{}
	for _, path := range protoDiff(t, "", before, after, protoMessages) {
		switch kind := kindOf(path); {
		case kind == "/14 added":
		case strings.HasPrefix(kind, "/7/5/") && slices.Contains(tensorData, strings.TrimPrefix(kind, "/7/5")):
			changed[fieldText(t, messageAt(t, after, path, 2), 8)] = true
		case strings.HasPrefix(kind, "/7/1/5/5/") && slices.Contains(tensorData, strings.TrimPrefix(kind, "/7/1/5/5")):
			changed[fieldText(t, messageAt(t, after, path, 2), 2)] = true
		case strings.HasPrefix(kind, branch+"/1/5/6/5/") && slices.Contains(tensorData, strings.TrimPrefix(kind, branch+"/1/5/6/5")):
			changed[fieldText(t, messageAt(t, after, path, 8), 8)] = true
		default:
			t.Errorf("field %s differs", path)
		}
	}
	return changed
}

// messageAt is the message at the first levels of a path.
func messageAt(t *testing.T, data []byte, path string, levels int) []byte {
	t.Helper()
	for _, step := range strings.Split(path, "/")[1 : levels+1] {
		var num protowire.Number
		var index int
		if _, err := fmt.Sscanf(step, "%d[%d]", &num, &index); err != nil {
			t.Fatal(err)
		}
		for _, f := range protoFields(t, data) {
			if f.num == num {
				if index == 0 {
					data = f.val
					break
				}
				index--
			}
		}
	}
	return data
}
